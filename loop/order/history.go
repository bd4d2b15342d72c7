package order

// SetHistoryMax bounds the bytes of all histories together; 0: no bound. Any goroutine.
func (hs *Homes[G, C]) SetHistoryMax(bytes int64) {}

// KindsChanged says that Env.History may say something else from now on. A home notices with the next request of each group. Any
// goroutine.
func (hs *Homes[G, C]) KindsChanged() {}

// HistoryBytes is the memory of all histories at about this moment. Any goroutine.
func (hs *Homes[G, C]) HistoryBytes() int64 { return 0 }

// Histories is the number of groups of which something is kept, or that are known for their history alone, and of the messages
// kept, at about this moment. Any goroutine.
func (hs *Homes[G, C]) Histories() (groups, messages int64) { return 0, 0 }

// Keeps says whether there is something that Expire will have to drop some day: then the loop needs a tick. Any goroutine.
func (l *Lanes[G, C]) Keeps() bool { return false }

// Expire drops what the home of the loop's own index keeps no longer: up to most messages whose time is over or that are too many,
// and groups that were known for their history alone, the oldest first. The loop calls it once a tick, and owes a Host behind it,
// as requests to the home may have come meanwhile. more: there is more to drop, or another loop holds the home; the caller calls
// again in a later turn.
func (l *Lanes[G, C]) Expire(most int) (more bool) { return false }
