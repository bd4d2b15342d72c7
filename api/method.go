package api

import "context"

// method is one of the things that a backend can ask for.
type method struct {
	name  string
	index int // in methodTable
	// run carries out the command whose parameters are x.call, and appends its result, an object, to x.out. Of a fault nothing is left there.
	run func(ctx context.Context, x *exchange) *fault
	// offer begins the command if it need not be carried out before the next is begun; nil: it must.
	offer func(x *exchange) (Pending, *fault)
}

// methodTable is all methods but batch, which has commands of these.
var methodTable = []method{
	{name: "publish", run: runPublish, offer: offerPublish},
	{name: "broadcast", run: runBroadcast},
	{name: "presence", run: runPresence},
	{name: "presence_stats", run: runPresenceStats},
	{name: "history", run: runHistory},
	{name: "history_remove", run: runHistoryRemove},
	{name: "channels", run: runChannels},
	{name: "info", run: runInfo},
	{name: "subscribe", run: runSubscribe},
	{name: "unsubscribe", run: runUnsubscribe},
	{name: "disconnect", run: runDisconnect},
	{name: "refresh", run: runRefresh},
	{name: "revoke", run: runRevoke},
}

// methods is methodTable by name.
var methods = map[string]*method{}

func init() {
	for i := range methodTable {
		m := &methodTable[i]
		m.index = i
		methods[m.name] = m
	}
}
