# SPDX-License-Identifier: Apache-2.0
"""Keys and certificates for a test, made by the openssl command."""
import ssl
import subprocess


def openssl(folder, *arguments, stdin=None):
    subprocess.run(["openssl", *arguments], cwd=folder, check=True, input=stdin,
                   capture_output=True)


def key_of(folder, name, kind):
    kinds = {"ec": ("EC", "ec_paramgen_curve:P-256"), "rsa": ("RSA", "rsa_keygen_bits:2048"),
             "rsa4096": ("RSA", "rsa_keygen_bits:4096")}
    algorithm, option = kinds[kind]
    openssl(folder, "genpkey", "-algorithm", algorithm, "-pkeyopt", option, "-out", f"{name}.key")


class Authority:
    """A root that signs: `issue` writes NAME.pem (with the chain) and NAME.key into the folder."""

    def __init__(self, folder, name="ca"):
        self.folder, self.name, self.serial = folder, name, 1
        key_of(folder, name, "ec")
        openssl(folder, "req", "-x509", "-new", "-key", f"{name}.key", "-out", f"{name}.pem",
                "-days", "365", "-subj", f"/CN={name}")
        self.path = str(folder / f"{name}.pem")

    def context(self, certificate=None, version=None, alpn=None):
        """What a client has that trusts this authority alone, and shows a certificate of it."""
        context = ssl.create_default_context(cafile=self.path)
        if certificate:
            context.load_cert_chain(self.folder / f"{certificate}.pem",
                                    self.folder / f"{certificate}.key")
        return self.narrowed(context, version, alpn)

    def server(self, pair, version=None, alpn=None):
        """What a server has that shows a pair of files that issue() gave."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / pair["certificate"], self.folder / pair["key"])
        return self.narrowed(context, version, alpn)

    @staticmethod
    def narrowed(context, version, alpn):
        if version:
            context.minimum_version = context.maximum_version = version
        if alpn:
            context.set_alpn_protocols(alpn)
        return context

    def issue(self, name, *hosts, kind="ec", days=90, subject=None):
        self.serial += 1
        key_of(self.folder, name, kind)
        extensions = "basicConstraints=CA:FALSE\n"
        if hosts:
            names = ",".join(("IP:" if host[0].isdigit() else "DNS:") + host for host in hosts)
            extensions += f"subjectAltName={names}\n"
        (self.folder / f"{name}.ext").write_text(extensions)
        openssl(self.folder, "req", "-new", "-key", f"{name}.key", "-out", f"{name}.csr", "-subj",
                subject or f"/CN={name}")
        openssl(self.folder, "x509", "-req", "-in", f"{name}.csr", "-CA", f"{self.name}.pem",
                "-CAkey", f"{self.name}.key", "-set_serial", str(self.serial), "-days", str(days),
                "-extfile", f"{name}.ext", "-out", f"{name}.pem")
        return {"certificate": f"./{name}.pem", "key": f"./{name}.key"}

    def staple(self, name):
        """An OCSP response for NAME, signed by the authority itself."""
        folder = self.folder
        (folder / "index.txt").write_text(
            f"V\t391231235959Z\t\t{self.serial:02X}\tunknown\t/CN={name}\n")
        openssl(folder, "ocsp", "-issuer", f"{self.name}.pem", "-cert", f"{name}.pem", "-reqout",
                "request.der", "-no_nonce")
        openssl(folder, "ocsp", "-index", "index.txt", "-CA", f"{self.name}.pem", "-rsigner",
                f"{self.name}.pem", "-rkey", f"{self.name}.key", "-reqin", "request.der",
                "-respout", f"{name}.ocsp", "-ndays", "7")
        return f"./{name}.ocsp"

    def revoke(self, *names, lists="crl", ends=None):
        """Writes LISTS.pem, of all that this authority has revoked so far and these; ends: a time
        as openssl takes it, else in a week."""
        prefix = f"{self.name}-crl"
        if not (self.folder / f"{prefix}.cnf").exists():
            (self.folder / f"{prefix}.txt").write_text("")
            (self.folder / f"{prefix}.cnf").write_text(
                f"[ca]\ndefault_ca=it\n[it]\ndatabase={prefix}.txt\ndefault_md=sha256\n"
                f"unique_subject=no\ndefault_crl_days=7\ncertificate={self.name}.pem\n"
                f"private_key={self.name}.key\n")
        for name in names:
            openssl(self.folder, "ca", "-config", f"{prefix}.cnf", "-revoke", f"{name}.pem")
        when = ["-crl_lastupdate", "20200101000000Z", "-crl_nextupdate", ends] if ends else []
        openssl(self.folder, "ca", "-config", f"{prefix}.cnf", "-gencrl", *when, "-out",
                f"{lists}.new")
        (self.folder / f"{lists}.new").rename(self.folder / f"{lists}.pem")
        return f"./{lists}.pem"

def member_contexts(box, alpn=None):
    """What makes contexts of a member, which know nothing of each other's sessions, and how the
    cluster trusts them."""
    authority = Authority(box.folder)
    pair = authority.issue("member", "127.0.0.1")
    return lambda: authority.server(pair, alpn=alpn), {"ca": authority.path}
