package dialect

import (
	"strings"
	"testing"
)

func TestChannelsAreWhatTheirNamesSay(t *testing.T) {
	for name, want := range map[string]Channel{
		"news":                             {},
		"":                                 {},
		"public-cache-x":                   {},
		"Private-a":                        {},
		"private":                          {},
		"cache-x":                          {Cache: true},
		"private-a":                        {Private: true},
		"private-":                         {Private: true},
		"private-cache-a":                  {Private: true, Cache: true},
		"private-encrypted-a":              {Private: true, Encrypted: true},
		"private-encrypted":                {Private: true},
		"private-encrypted-cache-a":        {Private: true, Encrypted: true, Cache: true},
		"private-cache-encrypted-a":        {Private: true, Cache: true},
		"private-presence-a":               {Private: true},
		"presence-b":                       {Private: true, Presence: true},
		"presence-cache-b":                 {Private: true, Presence: true, Cache: true},
		"presence-encrypted-b":             {Private: true, Presence: true},
		"#server-to-user-ann":              {User: true, UserID: "ann"},
		"#server-to-user-private-cache-17": {User: true, UserID: "private-cache-17"},
		"#server-to-user-":                 {User: true},
		"#private-a":                       {},
	} {
		for _, group := range []string{name, "app-2/" + name, "presence-1/" + name} {
			if got := ChannelOf(group); got != want {
				t.Errorf("%q: got %+v, want %+v", group, got, want)
			}
			if got := ChannelName(group); got != name {
				t.Errorf("%q: got the channel %q, want %q", group, got, name)
			}
		}
	}
}

func TestWhatMayBeTheNameOfAChannel(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "#a": true, "Az09-_=@,.;": true, "private-App.Models.User.1": true, "#server-to-user-1": true, strings.Repeat("a", 164): true,
		"": false, "#": false, "##a": false, "a#": false, "a b": false, "a/b": false, "a:b": false, "ä": false, "a\x00": false, "a[": false,
		"a`": false, "a{": false, "a/": false, "a*": false, strings.Repeat("a", 165): false,
	} {
		if got := IsChannel(name, ChannelBytesMax); got != want {
			t.Errorf("%q: got %v, want %v", name, got, want)
		}
	}
	if IsChannel("abc", 2) || !IsChannel("abc", 3) {
		t.Error("the bound is not that which was named")
	}
}

func TestAClientSaysItsAppAndItsVersionByItsRequest(t *testing.T) {
	for _, test := range []struct {
		path, query string
		key         string
		cause       Cause
		ok          bool
	}{
		{"/app/KEY", "protocol=7&client=js&version=8.6.0&flash=false", "KEY", 0, true},
		{"/app/a-b_c=d@e,f.g;h", "client=js&protocol=5", "a-b_c=d@e,f.g;h", 0, true},
		{"/app/KEY", "protocol=6", "KEY", 0, true},
		{"/app/KEY", "protocol=07", "KEY", 0, true},
		{"/app/KEY", "protocol=4", "KEY", CauseBadVersion, false},
		{"/app/KEY", "protocol=8", "KEY", CauseBadVersion, false},
		{"/app/KEY", "protocol=0", "KEY", CauseBadVersion, false},
		{"/app/KEY", "protocol=77", "KEY", CauseBadVersion, false},
		{"/app/KEY", "protocol=" + strings.Repeat("7", 4000), "KEY", CauseBadVersion, false},
		{"/app/KEY", "protocol=", "KEY", CauseVersionFormat, false},
		{"/app/KEY", "protocol=x", "KEY", CauseVersionFormat, false},
		{"/app/KEY", "protocol=7.0", "KEY", CauseVersionFormat, false},
		{"/app/KEY", "protocol=-7", "KEY", CauseVersionFormat, false},
		{"/app/KEY", "", "KEY", CauseNoVersion, false},
		{"/app/KEY", "protocol", "KEY", CauseNoVersion, false},
		{"/app/KEY", "Protocol=7&xprotocol=7", "KEY", CauseNoVersion, false},
		{"/app/KEY", "protocol=6&protocol=x", "KEY", 0, true}, // the first counts
		{"/app/", "protocol=7", "", CauseBadPath, false},
		{"/app/KEY/", "protocol=7", "", CauseBadPath, false},
		{"/app/KEY/x", "protocol=7", "", CauseBadPath, false},
		{"/app", "protocol=7", "", CauseBadPath, false},
		{"/", "", "", CauseBadPath, false},
	} {
		key, cause, ok := PusherRequest(test.path, test.query)
		if key != test.key || cause != test.cause || ok != test.ok {
			t.Errorf("%s?%.40s: got %q, cause %d, %v, want %q, cause %d, %v", test.path, test.query, key, cause, ok, test.key, test.cause, test.ok)
		}
	}
}

func TestUsersAreWhatAnAppHasSigned(t *testing.T) {
	for _, test := range []struct {
		data   string
		member *Who // nil: none is named
		user   *Who
	}{
		{`{"user_id":"ann","user_info":{"n":"Ann"}}`, WhoIs{User: "ann", Info: []byte(`{"n":"Ann"}`)}.Who(), nil},
		{`{"user_id":10,"user_info":{"name":"Mr. Channels"}}`, WhoIs{User: "10", NumberID: true, Info: []byte(`{"name":"Mr. Channels"}`)}.Who(), nil},
		{` {"user_info" : true , "user_id" : "\u0061\"" } `, WhoIs{User: `a"`, Info: []byte(`true`)}.Who(), nil},
		{"{\"user_id\":\"a\",\"user_info\":[1,\r\n2]}", WhoIs{User: "a", Info: []byte(`[1,2]`)}.Who(), nil},
		{`{"user_id":"a","user_info":null}`, WhoIs{User: "a"}.Who(), nil},
		{`{"user_id":-1}`, WhoIs{User: "-1", NumberID: true}.Who(), nil},
		{`{"user_id":"1"}`, WhoIs{User: "1"}.Who(), nil},
		{`{"user_id":"` + strings.Repeat("a", 255) + `"}`, WhoIs{User: strings.Repeat("a", 255)}.Who(), nil},
		{`{"user_id":"` + strings.Repeat("a", 256) + `"}`, nil, nil},
		{`{"id":"12345","user_info":{},"watchlist":["x"]}`, nil, WhoIs{User: "12345", Info: []byte("{}")}.Who()},
		{`{"id":"a","user_id":"b"}`, WhoIs{User: "b"}.Who(), WhoIs{User: "a"}.Who()},
		{`{"id":12345}`, nil, nil},
		{`{"id":""}`, nil, nil}, {`{"user_id":""}`, nil, nil}, {`{"user_id":1.5}`, nil, nil}, {`{"user_id":99999999999999999999}`, nil, nil},
		{`{"user_id":null}`, nil, nil}, {`{"user_id":["a"]}`, nil, nil}, {`{}`, nil, nil}, {`{"user_id":"a"}}`, nil, nil}, {`{"user_id":"a"`, nil, nil},
		{`[]`, nil, nil}, {`"a"`, nil, nil}, {``, nil, nil}, {"{\"user_id\":\"\xff\"}", nil, nil},
	} {
		for name, pair := range map[string][2]*Who{"member": {MemberOf([]byte(test.data)), test.member}, "user": {UserOf([]byte(test.data)), test.user}} {
			got, want := pair[0], pair[1]
			if (got == nil) != (want == nil) || got != nil && (got.User() != want.User() || string(infoOf(got)) != string(infoOf(want)) || name == "member" && got.Info() != nil || got.NumberID() != want.NumberID()) {
				t.Errorf("%s of %.60q: got %+v, want %+v", name, test.data, got, want)
			}
		}
	}
}
