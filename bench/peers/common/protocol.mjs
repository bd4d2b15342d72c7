// What is the same in both JavaScript peers: the command line, and the commands
// and replies of the protocol. How messages are received and sent depends on the
// library, so each peer has that itself.

import { parseArgs } from 'node:util';

// From how many bytes on a message is compressed, with --compression.
export const COMPRESSION_MIN = 256;

// Carries out a client's command by calling one of actions, each with the client and
// the name of the group, publish with the text too. Returns the reply, or
// undefined when there is none.
export function answer(actions, client, data) {
  let command;
  try {
    command = JSON.parse(data); // bytes are decoded as text
  } catch {
    // falls through to the reply below
  }
  const id = command?.id;
  const name = groupName(command?.group_id);
  if (name === undefined || !run(actions, client, command, name)) {
    return JSON.stringify({ id, error: 'bad command' });
  }
  return id === undefined ? undefined : JSON.stringify({ id, ok: true });
}

function run(actions, client, command, name) {
  switch (command.cmd) {
    case 'add_group':
      actions.join(client, name);
      return true;
    case 'leave_group':
      actions.leave(client, name);
      return true;
    case 'send_to_group':
      if (typeof command.message !== 'string') return false;
      actions.publish(client, name, command.message);
      return true;
    default:
      return false;
  }
}

// 123 and "123" are the same group.
function groupName(id) {
  if (typeof id === 'number') return String(id);
  return typeof id === 'string' && id !== '' ? id : undefined;
}

// Reads the command line of a program that has these forms, or prints what is
// wrong with it, for a wrong form the given text, and exits with 2.
export function options(program, forms, wrongForm) {
  try {
    const { values } = parseArgs({
      args: process.argv.slice(2),
      options: {
        port: { type: 'string' },
        form: { type: 'string', default: 'usual' },
        compression: { type: 'boolean', default: false }
      }
    });
    const port = Number(values.port);
    if (!Number.isInteger(port) || port < 1 || port > 65535) {
      throw new Error('--port needs a number from 1 to 65535');
    }
    if (!forms.includes(values.form)) throw new Error(wrongForm);
    return { port, form: values.form, compression: values.compression };
  } catch (error) {
    console.error(`${error.message}\nusage: ${program} --port N [--form ${forms.join('|')}] [--compression]`);
    process.exit(2);
  }
}
