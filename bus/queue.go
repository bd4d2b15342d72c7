package bus

import "slices"

// queue is a name with jobs or watchers. A job goes to a watcher that has sent reserve and has not been given a job from
// this queue since: as in the original, one reserve allows one job of each queue that its sender watches at the time.
// Nothing is acknowledged; a job that was given to a client which then disconnects is lost. Under the server's lock.
type queue struct {
	name     name
	jobs     [][]byte // serialized data, from first on
	first    int
	watchers map[*peer]struct{}
	ready    []*peer // watchers that have sent reserve, in that order
}

// jobBytes is what a job counts for: its data and its place in the list.
func jobBytes(data []byte) int { return len(data) + 24 }

// bytes is what a queue counts for while jobs wait in it: many small jobs may each have a queue of their own, and such a
// queue is not bounded by the subscriptions of a client.
func (q *queue) bytes() int { return queueBytes + len(q.name.key)*2 + len(q.name.raw) }

// queueBytes is the queue, its maps and its places in them, about.
const queueBytes = 400

func (s *server) queue(n name) *queue {
	q := s.queues[string(n.key)]
	if q == nil {
		own := name{slices.Clone(n.key), slices.Clone(n.raw)}
		q = &queue{name: own, watchers: map[*peer]struct{}{}}
		s.queues[string(own.key)] = q
	}
	return q
}

// watch is idempotent. false: the client has reached its bound on subscriptions.
func (s *server) watch(p *peer, n name) bool {
	if _, already := p.watched[string(n.key)]; already {
		return true
	}
	if len(p.subscribed)+len(p.watched) >= s.cfg.SubscriptionsMax {
		return false
	}
	q := s.queue(n)
	q.watchers[p] = struct{}{}
	p.watched[string(n.key)] = q
	s.subscriptions++
	return true
}

func (s *server) unwatch(p *peer, key string) {
	q := p.watched[key]
	if q == nil {
		return
	}
	delete(p.watched, key)
	delete(q.watchers, p)
	s.subscriptions--
	if at := slices.Index(q.ready, p); at >= 0 {
		q.ready = slices.Delete(q.ready, at, at+1)
	}
	s.giveUpIfEmpty(q)
}

func (s *server) giveUpIfEmpty(q *queue) {
	if len(q.watchers) == 0 && q.waiting() == 0 {
		delete(s.queues, string(q.name.key))
	}
}

func (q *queue) waiting() int { return len(q.jobs) - q.first }

// enqueue keeps a job until a watcher is ready for it. false: the queue is full, or all of them are.
func (s *server) enqueue(n name, data []byte) bool {
	q := s.queue(n)
	bytes := jobBytes(data)
	if q.waiting() == 0 {
		bytes += q.bytes()
	}
	if q.waiting() >= s.cfg.QueueJobsMax || s.jobBytes > 0 && s.jobBytes+bytes > s.cfg.QueueBytesMax {
		s.giveUpIfEmpty(q)
		return false
	}
	q.jobs = append(q.jobs, slices.Clone(data))
	s.jobs++
	s.jobBytes += bytes
	s.count.jobsIn.Add(1)
	s.dispatch(q)
	return true
}

func (s *server) reserve(p *peer) {
	for _, q := range p.watched {
		if !slices.Contains(q.ready, p) {
			q.ready = append(q.ready, p)
		}
		s.dispatch(q)
	}
}

// jobsKeptMax is the capacity above which an empty queue releases its list.
const jobsKeptMax = 1024

// dispatch gives waiting jobs to watchers that are ready. The others stay in the queue.
func (s *server) dispatch(q *queue) {
	for q.waiting() > 0 && len(q.ready) > 0 {
		p, data := q.ready[0], q.jobs[q.first]
		q.ready = slices.Delete(q.ready, 0, 1)
		if !p.job(&parcel{frame: eventFrame(verbQueue, q.name, data)}) {
			continue
		}
		q.jobs[q.first] = nil
		q.first++
		if q.first*2 >= len(q.jobs) {
			q.jobs = slices.Delete(q.jobs, 0, q.first)
			q.first = 0
		}
		s.jobs--
		s.jobBytes -= jobBytes(data)
		if q.waiting() == 0 {
			s.jobBytes -= q.bytes()
			if cap(q.jobs) > jobsKeptMax {
				q.jobs = nil
			}
		}
	}
	s.giveUpIfEmpty(q)
}
