package api

import "context"

// method is one of the things that a backend can ask for.
type method struct {
	name  string
	index int // in methodNames
	// run carries out the command whose parameters are x.call, and appends its result, an object, to x.out. Of a fault nothing is left there.
	run func(ctx context.Context, x *exchange) *fault
	// offer begins the command if it need not be carried out before the next is begun; nil: it must.
	offer func(x *exchange) (Pending, *fault)
}

// methodNames is all methods but batch, which has commands of these.
var methodNames = [...]string{"publish", "broadcast", "presence", "presence_stats", "history", "history_remove", "channels", "info",
	"subscribe", "unsubscribe", "disconnect", "refresh", "revoke"}

// methods is the table of them.
var methods = map[string]*method{
	"publish":        {run: runPublish, offer: offerPublish},
	"broadcast":      {run: runBroadcast},
	"presence":       {run: runPresence},
	"presence_stats": {run: runPresenceStats},
	"history":        {run: runHistory},
	"history_remove": {run: runHistoryRemove},
	"channels":       {run: runChannels},
	"info":           {run: runInfo},
	"subscribe":      {run: runSubscribe},
	"unsubscribe":    {run: runUnsubscribe},
	"disconnect":     {run: runDisconnect},
	"refresh":        {run: runRefresh},
	"revoke":         {run: runRevoke},
}

func init() {
	for i, name := range methodNames {
		methods[name].name, methods[name].index = name, i
	}
}
