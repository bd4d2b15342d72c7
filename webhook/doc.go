// Package webhook tells backends what becomes of the channels of their Pusher app: that one is occupied or vacated, that a user comes or goes,
// what clients say, and that nobody knows a cache channel's last event. Its rule: it is told by homes, and none of them ever waits for it. What
// a backend does not take in time is bounded in number and bytes, and dropped beyond.
//
//	homes ─Observe─► inboxes ─► hold: who goes may come back within 3 s ─► a queue for each app ─► a request at a time, signed
//
// What was observed of one channel is told in that order, but for what was held back.
package webhook
