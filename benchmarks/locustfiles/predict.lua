-- The same predict request from wrk. Its summary is one line of JSON.
-- With the argument "statuses" every answer's status is counted, which costs wrk some of its speed.

wrk.method = "POST"
wrk.path = "/v1/models/half_plus_two:predict"
wrk.body = '{"instances": [1.0, 2.0, 5.0]}'
wrk.headers["Content-Type"] = "application/json"

local threads = {}

function setup(thread)
   table.insert(threads, thread)
end

function init(args)
   right, wrong = 0, 0
   if args[1] == "statuses" then
      response = function(status, headers, body)
         if status == 200 and body == '{"predictions": [2.5, 3.0, 4.5]}' then
            right = right + 1
         else
            wrong = wrong + 1
         end
      end
   end
end

function done(summary, latency, requests)
   local right, wrong = 0, 0
   for _, thread in ipairs(threads) do
      right = right + thread:get("right")
      wrong = wrong + thread:get("wrong")
   end
   local errors = summary.errors
   local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
   print(string.format('JSON {"requests": %d, "failed": %d, "right": %d, "wrong": %d, "p99_ms": %.3f}',
      summary.requests, failed, right, wrong, latency:percentile(99) / 1000))
end
