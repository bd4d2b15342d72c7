package cli

import _ "embed" // the demo page

// demoPage is sent to a browser that opens the WebSocket port as a page. It is one file without outside resources, so that
// it works without internet access.
//
//go:embed demo.html
var demoPage []byte
