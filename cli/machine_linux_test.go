package cli

import (
	"os"
	"testing"
)

func TestDescriptorsAreCountedByNameAsTheKernelCountsThem(t *testing.T) {
	const more = 3000 // more than one read of the directory returns
	before := countDescriptorsByName()
	for range more {
		f, err := os.Open(os.DevNull)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
	}
	// Others in this process may open and close some meanwhile, but not hundreds.
	if got := countDescriptorsByName() - before; got < more-100 || got > more+100 {
		t.Errorf("descriptors counted after %d were opened: got %d more", more, got)
	}
	if names, kernels := countDescriptorsByName(), countDescriptors(); names < kernels-100 || names > kernels+100 {
		t.Errorf("descriptors: got %d by name, %d from the kernel", names, kernels)
	}
	if got := testing.AllocsPerRun(3, func() { countDescriptorsByName() }); got > more/3 {
		t.Errorf("allocations of a count of %d descriptors: got %v, want far fewer than there are", more, got)
	}
}
