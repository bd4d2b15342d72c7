package door

import (
	"fmt"
	"sync"
	"testing"
)

func TestUsersAreCountedOnceHoweverManyClientsTheyHave(t *testing.T) {
	users := NewUsers()
	want := func(when string, distinct, ofAnn int) {
		t.Helper()
		if got := users.Len(); got != distinct || users.Clients("ann") != ofAnn {
			t.Errorf("%s: got %d users, and %d clients of ann, want %d and %d", when, got, users.Clients("ann"), distinct, ofAnn)
		}
	}
	want("at first", 0, 0)
	users.Come("ann")
	users.Come("ann")
	users.Come("bob")
	users.Come("")
	want("ann twice, bob, and somebody without a name", 2, 2)
	users.Go("ann")
	users.Go("")
	want("one client of ann's has gone", 2, 1)
	users.Go("ann")
	want("ann has gone", 1, 0)
	users.Go("bob")
	want("all have gone", 0, 0)
}

func TestUsersComeAndGoOnAllLoopsAtOnce(t *testing.T) {
	users := NewUsers()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 2000 {
				users.Come(fmt.Sprint(i % 100))
			}
			for i := range 2000 {
				if i%100 != 7 {
					users.Go(fmt.Sprint(i % 100))
				}
			}
		})
	}
	all.Wait()
	if users.Len() != 1 || users.Clients("7") != 160 {
		t.Errorf("got %d users, and %d clients of 7, want 1 and 160", users.Len(), users.Clients("7"))
	}
}
