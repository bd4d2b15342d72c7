// A group-push server on Bun 1.4 (npm `bun`, MIT; uWebSockets inside), one
// process: what Bun's documentation recommends for chat rooms.
//
//   bun server.ts --port N [--form usual] [--compression]
//
// usual: Bun's own publish/subscribe ("Pub/Sub" in the WebSocket pages of its
// documentation): a group is a topic, ws.subscribe joins and server.publish
// sends, the publisher included. Topics live in native code, a message is
// framed once, and what one turn of the event loop has for a client goes out
// in one write. So there is no other form.
//
// With --compression messages of 256 bytes and more are published with Bun's
// flag for it; a message is compressed without context takeover.
//
// A closed client leaves its topics by itself, and empty topics vanish.

import { answer, COMPRESSION_MIN, options } from '../common/protocol.mjs';

const { port, compression } = options('server.ts', ['usual'], '--form is usual: Bun joins the writes of a turn by itself');

type Client = Bun.ServerWebSocket;

const actions = {
  join: (client: Client, topic: string) => client.subscribe(topic),
  leave: (client: Client, topic: string) => client.unsubscribe(topic),
  publish: (_: Client, topic: string, text: string) =>
    server.publish(topic, text, compression && text.length >= COMPRESSION_MIN)
};

const server = Bun.serve({
  hostname: '127.0.0.1',
  port,
  fetch(request, server) {
    if (new URL(request.url).pathname === '/' && server.upgrade(request)) return;
    return new Response('a WebSocket server\n', { status: 426 });
  },
  websocket: {
    perMessageDeflate: compression,
    maxPayloadLength: 1024 * 1024,
    // Beyond its limit Bun drops messages; a client that slow is closed instead.
    backpressureLimit: 16 * 1024 * 1024,
    closeOnBackpressureLimit: true,
    message(ws, data) {
      const reply = answer(actions, ws, data);
      if (reply !== undefined) ws.send(reply);
    }
  }
});

process.on('SIGTERM', () => process.exit(0));
console.log(`listening 127.0.0.1:${port}`);
