// SPDX-License-Identifier: Apache-2.0
// A WebSocket client of npm (ws) against an echo: texts, bytes, a large message, a ping, the close.
// usage: node client.js URL CA     Prints what came of it as one line of JSON.
'use strict';
const fs = require('fs');
const WebSocket = require('ws');

const [url, ca] = process.argv.slice(2);
const socket = new WebSocket(url, ['chat'], { ca: fs.readFileSync(ca), perMessageDeflate: false });
const large = Buffer.alloc(300000, 'freshet ');
const sent = ['first', Buffer.from([0, 1, 255]), 'zwölf \u{1f30a}', large];
const said = { equal: 0, kinds: [], pong: false };

socket.on('open', () => {
  said.protocol = socket.protocol;
  socket.ping('are you there');
  for (const message of sent) socket.send(message);
});
socket.on('pong', (data) => { said.pong = data.toString() === 'are you there'; });
socket.on('message', (data, binary) => {
  said.equal += Buffer.from(sent[said.kinds.length]).equals(data) ? 1 : 0;
  said.kinds.push(binary ? 'bytes' : 'text');
  if (said.kinds.length === sent.length) socket.close(4001, 'done');
});
socket.on('error', (error) => { said.error = String(error); });
socket.on('close', (code, reason) => {
  said.close = [code, reason.toString()];
  console.log(JSON.stringify(said));
});
