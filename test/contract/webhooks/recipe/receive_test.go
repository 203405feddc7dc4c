// Answers of contracts/examples/webhooks/go/receive.go, put beside this file, to the cases on standard input, one line each.
package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"
)

func TestMain(_ *testing.M) {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var given struct {
			Secrets []string
			Headers [][2]string
			Body    []byte
			Now     int64
		}
		if err := json.Unmarshal(lines.Bytes(), &given); err != nil {
			panic(err)
		}
		header := http.Header{}
		for _, pair := range given.Headers {
			header.Add(pair[0], pair[1])
		}
		_, err := verify(given.Secrets, header, given.Body, time.Unix(given.Now, 0))
		switch {
		case err == nil:
			fmt.Println("accepted")
		case errors.Is(err, errHeaders), errors.Is(err, errTimestamp), errors.Is(err, errSignature):
			fmt.Println(err)
		default:
			fmt.Println("configuration")
		}
	}
}
