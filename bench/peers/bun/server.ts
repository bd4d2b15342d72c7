// A group-push server on Bun 1.4 (npm `bun`, MIT; uWebSockets inside), one
// process: what Bun's documentation recommends for chat rooms.
//
//   bun server.ts --port N [--form usual]
//
// usual: Bun's own publish/subscribe ("Pub/Sub" in the WebSocket pages of its
// documentation): a group is a topic, ws.subscribe joins and server.publish
// sends, the publisher included. Topics live in native code, a message is
// framed once, and what one turn of the event loop has for a client goes out
// in one write. So there is no other form.
//
// A closed client leaves its topics by itself, and empty topics vanish.

import { parseArgs } from 'node:util';

const port = options();

const server = Bun.serve({
  hostname: '127.0.0.1',
  port,
  fetch(request, server) {
    if (new URL(request.url).pathname === '/' && server.upgrade(request)) return;
    return new Response('a WebSocket server\n', { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    maxPayloadLength: 1024 * 1024,
    // Beyond its limit Bun drops messages. A client so far behind shall know.
    backpressureLimit: 16 * 1024 * 1024,
    closeOnBackpressureLimit: true,
    message(ws, data) {
      let command;
      try {
        command = JSON.parse(data as string); // a Buffer turns into its text
      } catch {
        // falls through to the reply below
      }
      const id = command?.id;
      const topic = groupName(command?.group_id);
      if (topic === undefined || !run(ws, command, topic)) {
        ws.send(JSON.stringify({ id, error: 'bad command' }));
      } else if (id !== undefined) {
        ws.send(JSON.stringify({ id, ok: true }));
      }
    }
  }
});

process.on('SIGTERM', () => process.exit(0));
console.log(`listening 127.0.0.1:${port}`);

function run(ws: Bun.ServerWebSocket, command: any, topic: string): boolean {
  switch (command.cmd) {
    case 'add_group':
      ws.subscribe(topic);
      return true;
    case 'leave_group':
      ws.unsubscribe(topic);
      return true;
    case 'send_to_group':
      if (typeof command.message !== 'string') return false;
      server.publish(topic, command.message);
      return true;
    default:
      return false;
  }
}

// 123 and "123" are the same group.
function groupName(id: unknown): string | undefined {
  if (typeof id === 'number') return String(id);
  return typeof id === 'string' && id !== '' ? id : undefined;
}

function options(): number {
  try {
    const { values } = parseArgs({
      args: Bun.argv.slice(2),
      options: {
        port: { type: 'string' },
        form: { type: 'string', default: 'usual' }
      }
    });
    const port = Number(values.port);
    if (!Number.isInteger(port) || port < 1 || port > 65535) {
      throw new Error('--port needs a number from 1 to 65535');
    }
    if (values.form !== 'usual') {
      throw new Error('--form is usual: Bun joins the writes of a turn by itself');
    }
    return port;
  } catch (error) {
    console.error(`${(error as Error).message}\nusage: server.ts --port N [--form usual]`);
    process.exit(2);
  }
}
