package check

import (
	"slices"
	"testing"
)

func TestStampSurvivesItsWay(t *testing.T) {
	for _, s := range []Stamp{{}, {probePublisher, SequenceMax, 1<<48 - 1}, {12345, 678901, 234567890123}} {
		text := append(AppendStamp(nil, s), Filling(64)...)
		if got, ok := ReadStamp(text); !ok || got != s {
			t.Errorf("got %+v %v, want %+v", got, ok, s)
		}
		for i := range StampBytes {
			bad := slices.Clone(text)
			bad[i] = '"'
			if got, ok := ReadStamp(bad); ok {
				t.Errorf("a sign that is none is read as %+v", got)
			}
		}
	}
}
