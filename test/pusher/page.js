// What a page in Node and one in a browser share: clients of the Pusher protocol that say each of their steps. What it is to say something
// is the page's own. where is how a client finds the server, authority the address of the application that signs for it.

// asking are the options by which a client has somebody's signatures; without a name it shows nobody's.
function asking(as) {
  const about = (endpoint) => ({ endpoint: authority + endpoint, transport: 'ajax', headers: as ? { Authorization: 'Bearer ' + as } : {} });
  return { channelAuthorization: about('/broadcasting/auth'), userAuthentication: about('/broadcasting/user-auth') };
}

// telling has a client of pusher-js say its steps under the name of a tab.
function telling(client, tab) {
  const { connection } = client;
  connection.bind('state_change', (change) => say(change.current, { tab, client: connection.socket_id }));
  connection.bind('error', (about) => {
    const { code, message } = about.data ?? about.error?.data ?? {};
    say('error', { tab, code, reason: message ?? String(about.error) });
  });
  client.frames = []; // all that the server has said to it
  connection.bind('message', (frame) => client.frames.push(frame));
  client.user.bind_global((event, data) => say(event, { tab, channel: 'user', data }));
  return client;
}

function newPusher(tab, as, options) {
  return telling(new Pusher(key, { ...where, ...asking(as), ...options }), tab);
}

// listen subscribes, and says all events of the channel.
function listen(client, tab, name) {
  const channel = client.subscribe(name);
  channel.bind_global((event, data) => say(event, { tab, channel: name, data }));
  return channel;
}
