// soketi 1.6.1 (npm `@soketi/soketi`, AGPL-3.0; npm installs it here, nothing
// of it is in this repository) on node 20, one process: a server of the Pusher
// protocol, with the app that the bench has.
//
//   node server.mjs --port N [--form usual]
//
// It is set up as its manual has it, without limits of rates, which would be
// all that is measured, and without its endpoint for metrics.
//
// soketi asks for uWebSockets.js v20.10.0, which is not in npm's registry but
// on GitHub. package.json puts the build of v20.30.0 in its place that the
// registry has (npm `@trufflesuite/uws-js-unofficial`, Apache-2.0), with the
// same native code for node 16, 18 and 20. Between the two versions what an
// upgrade hands over has moved from the socket to a method of it, so onOpen
// copies it back: once for each connection, which no delivery is slower for.

import { createRequire } from 'node:module';
import { parseArgs } from 'node:util';

const { values } = parseArgs({ options: { port: { type: 'string' }, form: { type: 'string', default: 'usual' } } });
const port = Number(values.port);
if (!Number.isInteger(port) || values.form !== 'usual') {
  console.error('usage: node server.mjs --port N [--form usual]');
  process.exit(2);
}

const require = createRequire(import.meta.url);
const { Server } = require('@soketi/soketi/dist/index.js');
const { WsHandler } = require('@soketi/soketi/dist/ws-handler.js');

const { onOpen } = WsHandler.prototype;
WsHandler.prototype.onOpen = function (ws) {
  return onOpen.call(this, Object.assign(ws, ws.getUserData()));
};

const app = 'appManager.array.apps.0';
const server = new Server({
  host: '127.0.0.1',
  port,
  'metrics.enabled': false,
  [`${app}.id`]: 'bench',
  [`${app}.key`]: 'bench-key',
  [`${app}.secret`]: 'bench-secret-0123456789',
  [`${app}.enableClientMessages`]: true,
  [`${app}.maxClientEventsPerSecond`]: -1,
  [`${app}.maxBackendEventsPerSecond`]: -1
});
process.on('SIGTERM', () => process.exit(0));
await server.start(() => console.log(`listening 127.0.0.1:${port}`));
