# SPDX-License-Identifier: Apache-2.0
"""What the integration tests hold in their hands: processes, clients, members, loads, streams."""
