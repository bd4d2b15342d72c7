module ringcast/bench/peers/gorilla

go 1.26

require (
	github.com/gorilla/websocket v1.5.3
	ringcast/bench/peers/common v0.0.0
)

replace ringcast/bench/peers/common => ../common
