package order

import "testing"

// Many producers note and ring, one consumer answers and takes; whoever notes is either seen or sends a wake-up.
func TestBellLosesNoNote(t *testing.T) {
	var b bell
	const producers, rounds = 4, 20_000
	wake := make(chan struct{}, 1)
	var flags [producers]chan struct{}
	for i := range flags {
		flags[i] = make(chan struct{}, 1)
		go func() {
			for range rounds {
				note(&b.down, i)
				if b.mustWake() {
					wake <- struct{}{}
				}
				<-flags[i] // the consumer has seen the note
			}
		}()
	}
	for seen := 0; seen < producers*rounds; {
		<-wake
		b.woken()
		for bits := take(&b.down); bits != 0; bits = take(&b.down) {
			for i := range flags {
				if bits&(1<<i) != 0 {
					seen++
					flags[i] <- struct{}{}
				}
			}
		}
	}
}
