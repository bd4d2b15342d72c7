// What a page in Node and one in a browser share: clients that say each of their steps. What it is to say something is the page's own.

function newClient(url, options, Kind = Centrifuge) {
  const client = new Kind(url, options);
  for (const step of ['connecting', 'connected', 'disconnected', 'error']) {
    client.on(step, (about) => say(step, about));
  }
  return client;
}

function listen(client, channel, options) {
  const group = client.newSubscription(channel, options);
  for (const step of ['subscribing', 'subscribed', 'unsubscribed', 'publication', 'join', 'leave']) {
    group.on(step, (about) => say(step, about));
  }
  group.on('error', (about) => say('subscription error', about));
  group.subscribe();
  return group;
}
