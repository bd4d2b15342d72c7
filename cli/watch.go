package cli

import (
	"encoding/json"
	"io"
	"os"
	"strings"
	"time"

	"ringcast/loop"
)

// watchEvery is the time between two readings of status --watch.
const watchEvery = time.Second

// watch prints the status each second until a signal asks it to end, or the server ends.
func (r *env) watch(dir runDir, asJSON bool) error {
	ctx, cancel := r.untilAsked()
	defer cancel()
	terminal := isTerminal(r.stdout)
	again := time.NewTicker(watchEvery)
	defer again.Stop()
	var before *Status
	for {
		var block string
		now, err := readStatus(ctx, dir)
		if err == nil {
			if asJSON {
				block, err = jsonLine(now)
			} else {
				block = watchText(now, before, terminal)
			}
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := io.WriteString(r.stdout, block); err != nil {
			return err
		}
		before = now
		select {
		case <-again.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// watchText is one block: the status with two more columns, and on a terminal the escape sequences that replace the
// last block. The old text is overwritten line by line; clearing it first would flicker.
func watchText(now, before *Status, terminal bool) string {
	t := loopsTable(now)
	withRates(t, now, before)
	text := globalText(now) + tablePart("LOOPS", t) + channelText(now.Channel) + clusterText(now.Cluster, now.at())
	if !terminal {
		return text + "\n"
	}
	const home, clearLine, clearBelow = "\x1b[H", "\x1b[K\n", "\x1b[J"
	return home + strings.ReplaceAll(text, "\n", clearLine) + clearBelow
}

// withRates adds the rates per second since the last reading, by the server's own clock, so that the time which the answer
// takes does not matter. The first reading, and the first after a restart, has nothing to compare with.
func withRates(t *table, now, before *Status) {
	t.columns = append(t.columns, column{"in/s", true}, column{"deliveries/s", true})
	seconds := 0.0
	if before != nil && before.PID == now.PID && len(before.Loops) == len(now.Loops) {
		seconds = now.UptimeSeconds - before.UptimeSeconds
	}
	rates := func(row []string, a, b loop.LoopStats) []string {
		if seconds <= 0 {
			return append(row, "-", "-")
		}
		return append(row, rateText(a.MessagesIn, b.MessagesIn, seconds), rateText(a.Deliveries, b.Deliveries, seconds))
	}
	var last loop.LoopStats
	for i := range t.rows {
		if seconds > 0 {
			last = before.Loops[i]
		}
		t.rows[i] = rates(t.rows[i], last, now.Loops[i])
	}
	if seconds > 0 {
		last = before.Total
	}
	t.sum = rates(t.sum, last, now.Total)
}

func rateText(before, now uint64, seconds float64) string {
	if now < before {
		return "-"
	}
	return countText(int64(float64(now-before)/seconds + 0.5))
}

func jsonLine(s *Status) (string, error) {
	text, err := json.Marshal(s)
	return string(text) + "\n", err
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
