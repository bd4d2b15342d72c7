//go:build !race

package test

// raceDetector says whether this test binary runs under the race detector; the server is then built with it too.
const raceDetector = false
