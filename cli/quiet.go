package cli

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// quiet is a log handler that lets through at most ten records of one text a second, and then logs how many it has left
// out: an error that repeats ten thousand times a second must not fill the disk, nor slow down the loop that logs it.
// All debug records are let through: an operator who asks for them wants all of them.
type quiet struct {
	next slog.Handler // with the attributes and groups of this logger
	*quieter
}

// quieter is what all loggers of one log share. Any goroutine.
type quieter struct {
	root  slog.Handler
	now   func() time.Time
	after func(time.Duration, func()) // calls a function after a time; time.AfterFunc, except in tests

	mu     sync.Mutex
	spells map[string]*spell // by text
}

// spell is one second of records with the same text, from the first on.
type spell struct {
	ends    time.Time
	records int
	level   slog.Level // the highest of those left out
}

const (
	spellTime       = time.Second
	spellRecordsMax = 10
	spellsMax       = 256 // texts that are counted separately at a time; beyond that all others are counted as one
)

// otherTexts is the key of texts beyond spellsMax.
const otherTexts = "(various)"

func newQuiet(root slog.Handler, now func() time.Time, after func(time.Duration, func())) *quiet {
	return &quiet{root, &quieter{root: root, now: now, after: after, spells: map[string]*spell{}}}
}

// Enabled is part of slog.Handler.
func (q *quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return q.next.Enabled(ctx, level)
}

// WithAttrs is part of slog.Handler.
func (q *quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &quiet{q.next.WithAttrs(attrs), q.quieter}
}

// WithGroup is part of slog.Handler.
func (q *quiet) WithGroup(name string) slog.Handler { return &quiet{q.next.WithGroup(name), q.quieter} }

// Handle is part of slog.Handler.
func (q *quiet) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo && !q.mayPass(r.Message, r.Level) {
		return nil
	}
	return q.next.Handle(ctx, r)
}

// mayPass counts a record; the first that a spell leaves out has the spell's end logged.
func (q *quieter) mayPass(text string, level slog.Level) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := q.now()
	s := q.spells[text]
	if s == nil && len(q.spells) >= spellsMax {
		q.forget(now)
		if len(q.spells) >= spellsMax {
			text = otherTexts
			s = q.spells[text]
		}
	}
	if s == nil || s.over(now) {
		s = &spell{ends: now.Add(spellTime)}
		q.spells[text] = s
	}
	s.records++
	switch leftOut := s.leftOut(); {
	case leftOut == 0:
		return true
	case leftOut == 1:
		s.level = level
		q.after(s.ends.Sub(now), func() { q.end(text, s) })
	}
	s.level = max(s.level, level)
	return false
}

func (s *spell) leftOut() int { return max(0, s.records-spellRecordsMax) }

// over says whether a spell may be replaced; one that has left records out goes on until that is logged.
func (s *spell) over(now time.Time) bool { return s.leftOut() == 0 && !now.Before(s.ends) }

// forget drops the spells that are over.
func (q *quieter) forget(now time.Time) {
	for text, s := range q.spells {
		if s.over(now) {
			delete(q.spells, text)
		}
	}
}

// end logs how many records a spell has left out.
func (q *quieter) end(text string, s *spell) {
	q.mu.Lock()
	if q.spells[text] != s {
		q.mu.Unlock()
		return // it has been logged
	}
	delete(q.spells, text)
	q.mu.Unlock()
	r := slog.NewRecord(q.now(), s.level, "a message was repeated too often; its other records were left out", 0)
	r.AddAttrs(slog.String("message", text), slog.Int("left_out", s.leftOut()))
	_ = q.root.Handle(context.Background(), r)
}

// flush ends all spells now, so that what they left out is logged before the log is closed.
func (q *quieter) flush() {
	q.mu.Lock()
	left := map[string]*spell{}
	for text, s := range q.spells {
		if s.leftOut() > 0 {
			left[text] = s
		}
	}
	q.mu.Unlock()
	for text, s := range left {
		q.end(text, s)
	}
}
