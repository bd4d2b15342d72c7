package cli

import _ "embed" // the demo page

// demoPage is answered to a browser that opens the WebSocket port as a page. It is one file without outside resources,
// so that it works on a machine without the internet.
//
//go:embed demo.html
var demoPage []byte
