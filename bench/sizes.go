package main

import (
	"fmt"
	"slices"
	"time"

	"ringcast/bench/report"
)

// sizesVerb measures what compression saves and costs, by the size of messages.
type sizesVerb struct {
	common
	Sizes    []int         `default:"64,256,1024,4096,16384,65536" help:"Bytes of a message text, one load for each."`
	Members  int           `default:"1000" help:"Clients that are members of one group."`
	Window   int           `default:"1" help:"Messages in flight."`
	Rounds   int           `default:"1" help:"How often each is measured, in turns."`
	Time     time.Duration `default:"3s" help:"How long to publish."`
	Pictures string        `placeholder:"DIR" help:"Draw the result into DIR, as SVG and PNG."`
}

const sizesMax = 20

// Run is called by kong.
func (v *sizesVerb) Run(e *env) error {
	if err := v.common.check(); err != nil {
		return err
	}
	switch {
	case v.Rounds < 1 || v.Rounds > roundsMax:
		return fmt.Errorf("--rounds must be 1 to %d", roundsMax)
	case len(v.Sizes) < 1 || len(v.Sizes) > sizesMax:
		return fmt.Errorf("--sizes must be 1 to %d numbers", sizesMax)
	}
	slices.Sort(v.Sizes)
	loads := make([]load, len(v.Sizes))
	for i, size := range v.Sizes {
		loads[i] = load{Members: v.Members, Groups: 1, Joins: 1, Size: size, Payload: payloadJSON, Window: v.Window, Time: v.Time}
		if err := loads[i].check(v.Threads); err != nil {
			return err
		}
	}
	file := e.newFile()
	fine := true
	for round := range v.Rounds {
		for i := range loads {
			for _, compression := range []bool{round%2 == 0, round%2 != 0} {
				c := v.common
				c.Compression, c.name = compression, report.Uncompressed
				if compression {
					c.name = report.Compressed
				}
				fmt.Fprintf(e.stderr, "round %d of %d: %s bytes, %s\n", round+1, v.Rounds, count(v.Sizes[i]), c.name)
				r, err := e.fanoutWith("sizes", &c, &loads[i], nil)
				if err != nil {
					return err
				}
				r.Load, r.Round = count(v.Sizes[i])+" bytes", round+1
				file.Runs = append(file.Runs, r)
				fine = fine && r.Fine
			}
		}
	}
	fmt.Fprint(e.stdout, report.Table(file))
	if v.JSON != "" {
		if err := file.Write(v.JSON); err != nil {
			return fmt.Errorf("--json: %w", err)
		}
	}
	if v.Pictures != "" && fine {
		if err := drawInto(v.Pictures, file, e); err != nil {
			return err
		}
	}
	if !fine {
		return errFaulty
	}
	return nil
}
