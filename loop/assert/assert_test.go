package assert

import "testing"

func TestABrokenPromisePanicsWhereAssertionsAreOnAndNowhereElse(t *testing.T) {
	That(true, "test: a promise that is kept")
	defer func() {
		if got := recover(); (got != nil) != On {
			t.Errorf("a broken promise, assertions on: %v: got panic %v", On, got)
		}
	}()
	That(false, "test: a promise that is broken")
}
