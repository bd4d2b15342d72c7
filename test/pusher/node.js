// A page in Node: runs the scripts that come on standard input, one a line, each a JSON string, and prints each step as a line of JSON.
// What a script defines by a bare name stays for the next. It ends with its standard input.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';
import { runInThisContext } from 'node:vm';
import Backend from 'pusher';
import Echo from 'laravel-echo';
import Pusher from 'pusher-js';

function say(step, about) {
  console.log(JSON.stringify({ ...about, step }));
}

// laravel is what an application in Laravel does for its pages: it signs who they are and what they may be in. A page says who it is by a
// bearer token, which here is the bare name; users has those of whom there is more to say than that.
const users = {};

function laravel(backend) {
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const part of request) body += part;
    const { socket_id, channel_name } = Object.fromEntries(new URLSearchParams(body));
    const bearer = request.headers.authorization?.replace('Bearer ', '');
    const answer = (status, about) => response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(about));
    if (!bearer || channel_name?.endsWith('.forbidden')) return answer(403, { message: 'This action is unauthorized.' });
    const user = users[bearer] ?? { user_id: bearer, user_info: { name: bearer.toUpperCase() } };
    if (request.url === '/broadcasting/user-auth') {
      return answer(200, backend.authenticateUser(socket_id, { id: String(user.user_id), user_info: user.user_info }));
    }
    answer(200, backend.authorizeChannel(socket_id, channel_name, channel_name.startsWith('presence-') ? user : undefined));
  });
  server.unref();
  return new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(`http://127.0.0.1:${server.address().port}`)));
}

Object.assign(globalThis, { Backend, Echo, Pusher, laravel, say, users });
runInThisContext(readFileSync(new URL('page.js', import.meta.url), 'utf8'));

const Script = (async () => {}).constructor;
for await (const line of createInterface({ input: process.stdin })) {
  try {
    say('done', { value: await new Script(JSON.parse(line))() });
  } catch (error) {
    say('failed', { code: error.status ?? error.code, reason: error.body ?? error.message });
  }
}
process.exit(0); // open connections would keep it running
