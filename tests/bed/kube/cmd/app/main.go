// app: the "web" container of a real pod: answers with its pod name.
package main

import (
	"fmt"
	"net/http"
	"os"
)

func main() {
	http.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello from %s xfcc=%q\n", os.Getenv("HOSTNAME"), r.Header.Get("x-forwarded-client-cert"))
	})
	http.ListenAndServe(":8080", nil)
}
