module ringcast/bench/peers/common

go 1.26
