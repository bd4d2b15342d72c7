// A group-push server on ws 8 (npm `ws`, MIT) and node 20, one process: what
// an expert user of ws writes for groups of many members.
//
//   node server.mjs --port N [--form usual|batch] [--compression]
//
// usual: the broadcast of the ws README ("Server broadcast"): client.send for
// every open client of the group. The text becomes bytes once, not once per
// member.
//
// batch: ws leaves joining of writes to its user and points at cork and uncork
// of the socket underneath; it also offers Sender.frame, so that a broadcast
// frames a message once. Here the frames of one turn of the event loop become
// one block per group, and a member gets it in one write.
//
// Compression is off unless --compression asks for it, which is the default and
// what the README recommends for many connections. With it ws compresses a
// message for each member; in the form batch a message is compressed once here,
// as its frames are made here, too. bufferutil is left out: a server needs it only to unmask
// what clients send, and here nearly all bytes go the other way.

import { constants, deflateRawSync } from 'node:zlib';
import { Sender, WebSocket, WebSocketServer } from 'ws';
import { answer, COMPRESSION_MIN, options } from '../common/protocol.mjs';

const { port, form, compression } = options('server.mjs', ['usual', 'batch'], '--form is usual or batch');

const TEXT = { fin: true, opcode: 1, mask: false, rsv1: false };
const PACKED = { ...TEXT, rsv1: true }; // RFC 7692, section 6
const PACKING = {
  serverNoContextTakeover: true,
  clientNoContextTakeover: true,
  threshold: COMPRESSION_MIN
};

const groups = new Map(); // name → Group
const dirty = new Set(); // batch: the groups with frames
const send = form === 'batch' ? sendLater : sendNow;

class Group {
  members = new Set();
  frames = []; // batch: what this turn has published
}

const server = new WebSocketServer({
  host: '127.0.0.1',
  port,
  path: '/',
  maxPayload: 1024 * 1024,
  perMessageDeflate: compression && PACKING,
  clientTracking: false // the groups know the clients; a second Set would be waste
});

server.on('listening', () => console.log(`listening 127.0.0.1:${port}`));
server.on('error', (error) => {
  console.error(error.message);
  process.exit(1);
});
server.on('connection', (client) => {
  client.groups = new Set(); // the names of its groups
  client.on('message', onMessage); // shared functions: no closures per client
  client.on('close', onClose);
  client.on('error', onError);
});
process.on('SIGTERM', () => process.exit(0));

const actions = {
  join,
  leave,
  publish(_, name, text) {
    const group = groups.get(name);
    if (group !== undefined) send(group, Buffer.from(text));
  }
};

function onMessage(data) {
  const reply = answer(actions, this, data);
  if (reply !== undefined) this.send(reply);
}

function join(client, name) {
  let group = groups.get(name);
  if (group === undefined) groups.set(name, (group = new Group()));
  // What was published before the join is not for this client.
  if (group.frames.length > 0) flush();
  group.members.add(client);
  client.groups.add(name);
}

function leave(client, name) {
  const group = groups.get(name);
  if (group === undefined || !group.members.has(client)) return;
  // What was published before it left still is for this client.
  if (group.frames.length > 0) flush();
  group.members.delete(client);
  client.groups.delete(name);
  if (group.members.size === 0) groups.delete(name);
}

function onClose() {
  for (const name of this.groups) leave(this, name);
}

// A protocol error is the client's fault: ws closes the connection itself, but
// without a listener the event would end the process.
function onError() {}

function sendNow(group, data) {
  for (const client of group.members) {
    if (client.readyState === WebSocket.OPEN) {
      client.send(data, { binary: false });
    }
  }
}

function sendLater(group, data) {
  // setImmediate runs after all sockets of the turn have been read.
  if (dirty.size === 0) setImmediate(flush);
  if (compression && data.length >= COMPRESSION_MIN) {
    const packed = deflateRawSync(data, { finishFlush: constants.Z_SYNC_FLUSH });
    group.frames.push(...Sender.frame(packed.subarray(0, -4), PACKED));
  } else {
    group.frames.push(...Sender.frame(data, TEXT));
  }
  dirty.add(group);
}

function flush() {
  const corked = [];
  for (const group of dirty) {
    const block = Buffer.concat(group.frames);
    group.frames = [];
    for (const client of group.members) {
      if (client.readyState !== WebSocket.OPEN) continue;
      // Corking costs more than it saves unless several groups of this turn
      // can meet in one client.
      if (dirty.size > 1 && client.groups.size > 1) {
        client._socket.cork();
        corked.push(client._socket);
      }
      // This bypasses the Sender, which buffers nothing that this write could
      // overtake: it compresses no replies, as they are short.
      client._socket.write(block);
    }
  }
  dirty.clear();
  for (const socket of corked) socket.uncork(); // as often as it was corked
}
