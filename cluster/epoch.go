package cluster

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// A partition's epoch is what its marker says: a message of the stream itself, so that it is there as long as the messages are, and another
// one if the stream is made anew. It is written again, with the same epoch, before it goes with the oldest messages. The stream's own date of making is not that: it was seen to outlive its messages.

// markerEvery is how often, in ticks, a marker is looked at: each 10 minutes.
const markerEvery = int(10 * time.Minute / tick)

// markerPart is how near to the front of the log a marker may come, in offsets and in time, as a part of what the log has: then it is written again, before
// it goes with the oldest messages.
const markerPart = 4

func (p *partition) markerSubject() string { return fmt.Sprintf("rc.%d.%s", p.number, marker) }

// learnEpoch reads the marker, or writes one if there is none. anew: it writes another one.
func (p *partition) learnEpoch(ctx context.Context, anew bool) (epoch, error) {
	m, err := p.c.lastOf(ctx, p.stream, p.markerSubject())
	if err != nil {
		return 0, err
	}
	if m == nil || anew {
		var last uint64
		if m != nil {
			last = m.Sequence
		}
		if err := p.c.publishFirst(ctx, p.markerSubject(), markerText(newEpoch()), last); err != nil && !wrongLast(err) {
			return 0, err
		}
		if m, err = p.c.lastOf(ctx, p.stream, p.markerSubject()); err != nil {
			return 0, err
		}
	}
	if m == nil {
		return 0, errors.New("the marker was not kept")
	}
	p.markAt.Store(m.Sequence)
	return markerEpoch(m.Data)
}

// needsMarker says whether the marker is too near to the front of the log. The log may be short and turn over soon.
func (p *partition) needsMarker() bool {
	first, last := p.oldest.Load(), p.claimed.Load()
	return last > first && p.markAt.Load()-min(p.markAt.Load(), first) < (last-first)/markerPart
}

// renewMarker writes the marker again if it is old, or has gone with the oldest messages. Whichever node is first does it.
func (p *partition) renewMarker() { p.writeMarker(false) }

// writeMarker is renewMarker. now: whatever its age.
func (p *partition) writeMarker(now bool) {
	if !p.marking.CompareAndSwap(false, true) {
		return
	}
	defer p.marking.Store(false)
	ctx := p.c.ctx
	m, err := p.c.lastOf(ctx, p.stream, p.markerSubject())
	if err != nil || p.renew.Load() {
		return
	}
	text, last := markerText(p.epoch()), uint64(0)
	if m != nil {
		text, last = m.Data, m.Sequence
		p.markAt.Store(last)
		if !now && !p.needsMarker() && time.Since(m.Time) < p.c.ageMax()/markerPart {
			return
		}
	}
	if err := p.c.publishFirst(ctx, p.markerSubject(), text, last); err != nil && !wrongLast(err) && ctx.Err() == nil {
		p.c.log.Warn("the marker of a partition was not renewed", "partition", p.number, "error", err)
	}
}

// newEpoch is a random one. It is a number that every client can hold.
func newEpoch() epoch {
	var random [8]byte
	rand.Read(random[:])
	return epoch(binary.BigEndian.Uint64(random[:])>>11 | 1)
}

func markerText(e epoch) []byte { return strconv.AppendUint(nil, uint64(e), 10) }

func markerEpoch(text []byte) (epoch, error) {
	n, err := strconv.ParseUint(string(text), 10, 64)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("a marker says %q", text)
	}
	return epoch(n), nil
}

// wrongLast says whether something was not written because another was first.
func wrongLast(err error) bool {
	var refused *server.ApiError
	return errors.As(err, &refused) && (refused.ErrCode == uint16(server.JSStreamWrongLastSequenceErrF) || refused.ErrCode == uint16(server.JSStreamWrongLastSequenceConstantErr))
}

func isMarker(subject string) bool { return strings.HasSuffix(subject, "."+marker) }
