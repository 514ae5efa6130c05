package client_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/rota-scheduler/rota/client"
	"github.com/rota-scheduler/rota/task"
)

// demo is a cluster in memory whose handler "upper" answers with its payload in
// upper case.
func demo() (client.Config, func()) {
	cluster, stop := newCluster(3)
	return cluster.config(), stop
}

func Example() {
	c, err := client.New(client.Config{Addrs: []string{"a:7420", "b:7420", "c:7420"}})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	job, err := c.Submit(ctx, client.Request{
		Spec:  task.Spec{Command: []string{"sh", "-c", "echo $ROTA_TASK_INDEX"}, Timeout: time.Minute},
		Count: 100,
	})
	if err != nil {
		log.Fatal(err)
	}
	for result, err := range job.AsCompleted(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("task %d %s: %s", result.Index, result.State, result.Output)
	}
}

func ExampleClient_Submit() {
	cfg, stop := demo()
	defer stop()
	c, err := client.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	// With a key of its own, the request may also be repeated by another process.
	job, err := c.Submit(context.Background(), client.Request{
		Spec:     task.Spec{Handler: "upper", Queue: "words"},
		Payloads: client.Strings("a", "b", "c"),
		Key:      "words of 2 May",
	})
	if err != nil {
		log.Fatal(err)
	}
	info, err := job.Wait(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(info.State, info.Total)
	// Output: succeeded 3
}

func ExampleClient_Map() {
	cfg, stop := demo()
	defer stop()
	c, err := client.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	for result, err := range c.Map(context.Background(), task.Spec{Handler: "upper"}, client.Strings("one", "two", "three")) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(string(result.Output))
	}
	// Output:
	// ONE
	// TWO
	// THREE
}

func ExampleJob_AsCompletedFrom() {
	cfg, stop := demo()
	defer stop()
	c, err := client.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	job, err := c.Submit(context.Background(), client.Request{Spec: task.Spec{Handler: "upper"}, Payloads: client.Strings("a", "b", "c")})
	if err != nil {
		log.Fatal(err)
	}
	// The program stores the cursor with what it made of the results, and stops.
	var cursor []byte
	for result, err := range job.AsCompleted(context.Background()) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("first run:", string(result.Output))
		cursor = result.Cursor()
		break
	}
	// When it runs again, it continues after them.
	for result, err := range c.Job(job.ID()).AsCompletedFrom(context.Background(), cursor) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println("second run:", string(result.Output))
	}
	// Output:
	// first run: C
	// second run: B
	// second run: A
}
