// A page in Node: runs the scripts that come on standard input, one a line, each a JSON string, and prints each step as a line of JSON.
// What a script defines by a bare name stays for the next. It ends with its standard input.

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { runInThisContext } from 'node:vm';
import { Centrifuge } from 'centrifuge';
import { Centrifuge as Protobuf } from 'centrifuge/build/protobuf';
import { WebSocket } from 'ws';

const said = []; // the frames of all sockets, in each direction
const heard = [];

// The WebSocket that a browser has, and Node 20 has not. Beside that its frames are written down, and a test may lay a hand on them.
class Socket extends WebSocket {
  static mute = false; // it says nothing
  static instead = undefined; // what it says in place of everything else
  static pings = 0; // of WebSocket's own, which it answers by itself
  static last = undefined; // the socket that was opened last, which can be paused
  constructor(...about) {
    super(...about);
    Socket.last = this;
    this.on('message', (data) => heard.push(String(data)));
    this.on('ping', () => Socket.pings++);
  }
  send(data) {
    said.push(data);
    if (!Socket.mute) super.send(Socket.instead ?? data);
  }
}

function say(step, about) {
  console.log(JSON.stringify({ ...about, step }));
}

Object.assign(globalThis, { Centrifuge, Protobuf, WebSocket: Socket, said, heard, say });
runInThisContext(readFileSync(new URL('page.js', import.meta.url), 'utf8'));

const Script = (async () => {}).constructor;
for await (const line of createInterface({ input: process.stdin })) {
  try {
    say('done', { value: await new Script(JSON.parse(line))() });
  } catch (error) {
    say('failed', { code: error.code, reason: error.message });
  }
}
process.exit(0); // open connections would keep it running
