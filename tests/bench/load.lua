-- The request that wrk repeats, and its counts as JSON. Everything comes by environment variables: wrk calls `init` in each of its
-- threads and `done` in another state, which share nothing else.

local function read(path)
   local file = assert(io.open(path, "rb"))
   local text = file:read("*a")
   file:close()
   return text
end

function init()
   wrk.method = "POST"
   wrk.body = read(os.getenv("BENCH_BODY"))
   for line in os.getenv("BENCH_HEADERS"):gmatch("[^\n]+") do
      local name, value = line:match("^([^:]+): (.*)$")
      wrk.headers[name] = value
   end
end

function done(summary, latency)
   local errors = summary.errors
   local out = assert(io.open(os.getenv("BENCH_OUT"), "w"))
   out:write(string.format(
      '{"requests": %d, "duration_us": %d, "bytes": %d, "p50_us": %d, "p99_us": %d, "not_2xx": %d, "socket_errors": %d, "timeouts": %d}\n',
      summary.requests, summary.duration, summary.bytes, latency:percentile(50), latency:percentile(99),
      errors.status, errors.connect + errors.read + errors.write, errors.timeout))
   out:close()
end
