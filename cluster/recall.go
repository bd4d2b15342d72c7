package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// A recall is the question of a home what the log keeps of a group. It is answered in three steps, whose order matters.
//
//  1. The leader's last message of the group. A replica may be behind, this node's too: a republished message can be here before the
//     replica has it. So what replicas say is complete only if it goes up to this one.
//  2. The messages, from any replica, until that last one is among them; what a replica does not have yet comes from the leader.
//  3. What the leader has as the first of the partition. The log loses messages from its front, by age and by bytes, and may have done so since step 2.

const (
	recallsMax     = 1024                  // that wait; beyond: refused
	recallWorkers  = 8                     // that are answered at a time
	recallBytesMax = 64 << 20              // of messages in one answer; what is older is not in it
	recallTicks    = uint64(soon/tick) - 3 // after which one is answered that it failed, so that its home hears that in time
)

// recall is one that waits.
type recall struct {
	home  int
	group string
	due   uint64 // tick
}

// Recall asks for what the log keeps of a group. See loop.Orderer.
func (c *Cluster) Recall(home int, group string) bool {
	select {
	case c.recalls <- recall{home, group, c.now.Load() + recallTicks}:
		return true
	default:
		c.counters.recallsBusy.Add(1)
		return false
	}
}

// recallAll answers recalls, one at a time. It ends with the cluster.
func (c *Cluster) recallAll() {
	f, err := newFetcher(c)
	if err != nil && c.ctx.Err() == nil {
		c.log.Error("groups cannot be recalled", "error", err)
	}
	for {
		select {
		case <-c.ctx.Done():
			return
		case r := <-c.recalls:
			is := recalled{Group: r.group, Failed: true}
			if left := time.Duration(r.due-min(r.due, c.now.Load())) * tick; left > 0 && f != nil {
				ctx, cancel := context.WithTimeout(c.ctx, left)
				is = c.recallOne(ctx, f, r.group)
				cancel()
			}
			c.counters.recalls.Add(1)
			if is.Failed {
				c.counters.recallsFailed.Add(1)
			}
			c.parts[c.hash(r.group)].told(c.in.Recalled(c.ctx, r.home, is))
		}
	}
}

// recallOne tries until it has the answer, or has no more time.
func (c *Cluster) recallOne(ctx context.Context, f *fetcher, group string) recalled {
	for wait := tick / 20; ; wait = min(2*wait, tick) {
		is, err := c.tryRecall(ctx, f, group)
		if err == nil {
			return is
		}
		if !pause(ctx, wait) {
			if c.ctx.Err() == nil {
				c.log.Debug("a group was not recalled in time", "group", group, "error", err)
			}
			return recalled{Group: group, Failed: true}
		}
	}
}

func (c *Cluster) tryRecall(ctx context.Context, f *fetcher, group string) (is recalled, err error) {
	p := c.parts[c.hash(group)]
	subject := fmt.Sprintf("rc.%d.%s", p.number, groupToken(group))
	tip := p.tip.Load()
	is.Group, is.Epoch = group, p.epoch()
	last, err := c.lastOf(ctx, p.stream, subject)
	if err != nil {
		return is, err
	}
	if last != nil {
		is.Upto = last.Sequence
		raw, all, fromFirst, err := f.newest(ctx, p.stream, subject, c.config.HistoryMax+1, last.Sequence)
		if err != nil {
			return is, err
		}
		c.take(&is, raw)
		if len(raw) > 0 && (!fromFirst || all >= c.config.groupKept()) {
			is.Floor = max(is.Floor, number(raw[0].Header, headerOffset)-1)
		}
	}
	info, err := c.streamInfo(ctx, p.stream)
	if err != nil {
		return is, err
	}
	if info.State.LastSeq < tip {
		return is, errors.New("who answers as the leader is behind: another one leads")
	}
	if info.State.FirstSeq > 0 {
		is.Floor = max(is.Floor, info.State.FirstSeq-1)
	}
	for len(is.Messages) > 0 && is.Messages[0].Offset <= is.Floor {
		is.Messages, is.Ages = is.Messages[1:], is.Ages[1:]
	}
	return is, nil
}

// take reads messages of the log, which ascend, into what is recalled. What the group has forgotten is not among it, nor what it was never to keep.
func (c *Cluster) take(is *recalled, raw []*nats.Msg) {
	for _, m := range raw {
		s, err := c.decode(first(m.Header, headerSubject), m)
		if err != nil {
			continue // the reader has counted it
		}
		offset := number(m.Header, headerOffset)
		switch {
		case s.Forgets:
			is.Messages, is.Ages, is.Floor = nil, nil, offset
		case !s.Message.Unkept():
			s.Message.Offset = offset
			is.Messages = append(is.Messages, s.Message)
			at, _ := time.Parse(time.RFC3339Nano, first(m.Header, headerTime)) // by the clock of the leader that put it in order
			is.Ages = append(is.Ages, max(0, time.Since(at)))
		}
	}
}

// newest reads the newest messages of a subject up to a last one: so many, or some more, or all from the first on; fewer if they are too many bytes. all is how
// many the log had at least.
func (f *fetcher) newest(ctx context.Context, stream, subject string, many int, last uint64) (got []*nats.Msg, all int, fromFirst bool, err error) {
	from, all, fromFirst, err := f.begin(ctx, stream, subject, many, last)
	if err != nil {
		return nil, 0, false, err
	}
	bytes, most := 0, cmp.Or(f.c.config.recallBytes, recallBytesMax)
	add := func(m *nats.Msg) {
		got, bytes = append(got, m), bytes+len(m.Data)+headerBytes(m.Header)
		for bytes > most && len(got) > 1 {
			bytes -= len(got[0].Data) + headerBytes(got[0].Header)
			got[0] = nil
			got, fromFirst = got[1:], false
		}
	}
	for {
		part, err := f.fetch(ctx, stream, server.JSApiMsgGetRequest{Seq: from, NextFor: subject, Batch: fetchMax, MaxBytes: fetchBytesMax})
		for _, m := range part {
			offset := number(m.Header, headerOffset)
			if offset > last {
				return nil, 0, false, errors.New("the log has lost the group's last message since")
			}
			add(m)
			from = offset + 1
			if offset == last {
				return got, all, fromFirst, nil
			}
		}
		if len(part) > 0 {
			continue
		}
		if err != nil && !errors.Is(err, errNotThere) {
			return nil, 0, false, err
		}
		m, err := f.c.nextOf(ctx, stream, subject, from) // the replica is behind, see missing
		if err != nil {
			return nil, 0, false, err
		}
		if m == nil || number(m.Header, headerOffset) > last {
			return nil, 0, false, errors.New("the log has lost the group's last message since")
		}
		add(m)
		from = number(m.Header, headerOffset) + 1
		if from > last {
			return got, all, fromFirst, nil
		}
	}
}

// begin finds the offset from which a subject has so many messages up to a last one, or some more: the log says of each message how many are behind it.
func (f *fetcher) begin(ctx context.Context, stream, subject string, many int, last uint64) (from uint64, all int, fromFirst bool, err error) {
	count := func(at uint64) (offset uint64, n int, err error) { // of the messages from there on; 0: none
		got, err := f.fetch(ctx, stream, server.JSApiMsgGetRequest{Seq: at, NextFor: subject, Batch: 1})
		if errors.Is(err, errNotThere) {
			return 0, 0, nil
		}
		if err != nil {
			return 0, 0, err
		}
		if len(got) == 0 {
			return 0, 0, errNotThere
		}
		return number(got[0].Header, headerOffset), int(number(got[0].Header, headerPending)) + 1, nil
	}
	from, all, err = count(1)
	if err != nil {
		return 0, 0, false, err
	}
	if all == 0 {
		return 0, 0, false, errNotThere // the replica is behind
	}
	low, high := from, last // from low there are enough, from behind high there are none
	for n := all; n > 2*many && low < high; {
		middle := low + (high-low+1)/2
		offset, is, err := count(middle)
		if err != nil {
			return 0, 0, false, err
		}
		if is >= many {
			low, n = max(offset, middle), is
		} else {
			high = middle - 1
		}
	}
	return low, all, low == from, nil
}
