-- Answers the questions of one gateway, all of them at one instant. What is answered is written at tollgate_budget::pool, and is the same as its pool in memory answers.
--
-- KEYS  epoch, members, then a counter for each question. All have one hash tag, and so lie in one slot.
-- ARGV  instance, the epoch that it believes in, milliseconds of grace; then for each question seq, holds, need, want, limit, `u` (kept until) or `r` (kept
--       while it was heard), milliseconds, how many gateways were seen, and for each its name and amount.
-- A counter is a hash of gateways: granted:seq:heard. Numbers are whole and below 2^53, which doubles tell apart.

-- Redis before 7 replicates what a script wrote, not the script, only if asked to: the time below is another one on a replica.
if redis.replicate_commands then redis.replicate_commands() end

local function whole(number) return string.format('%.0f', number) end

local instance, believed, grace = ARGV[1], ARGV[2], tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

-- A server that was started anew, or another one that took over, may lack what was written last.
local info = redis.pcall('INFO', 'server')
local run = type(info) == 'string' and string.match(info, 'run_id:(%x+)') or '-'
local known = redis.call('HMGET', KEYS[1], 'id', 'run', 'until')
local id, till = known[1], tonumber(known[3] or '0')
if not id or known[2] ~= run then
    id = run .. '-' .. time[1] .. '-' .. time[2]
    till = now + grace
    redis.call('HSET', KEYS[1], 'id', id, 'run', run, 'until', whole(till))
end

redis.call('HSET', KEYS[2], instance, whole(now))
local members, live = redis.call('HGETALL', KEYS[2]), 0
for i = 1, #members, 2 do
    if tonumber(members[i + 1]) + grace < now then
        redis.call('HDEL', KEYS[2], members[i])
    else
        live = live + 1
    end
end

if believed ~= id then return { id, math.max(0, till - now), live, 0 } end

local in_grace, told = till > now, false
local reply, at = { id, 0, live, 1 }, 4
for k = 3, #KEYS do
    local key = KEYS[k]
    local seq, holds, need = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    local want, limit = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
    local rolling, keep, count = ARGV[at + 5] == 'r', tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7])
    at = at + 8
    local seen = {}
    for _ = 1, count do
        seen[ARGV[at]] = tonumber(ARGV[at + 1])
        at = at + 2
    end
    seen[instance] = nil

    local last, others = 0, 0
    local shares = redis.call('HGETALL', key)
    for i = 1, #shares, 2 do
        local name = shares[i]
        local granted, numbered, heard = string.match(shares[i + 1], '^(%d+):(%d+):(%d+)$')
        if name == instance then
            last = tonumber(numbered)
        elseif rolling and tonumber(heard) + keep < now then
            redis.call('HDEL', key, name)
        else
            others = others + math.max(tonumber(granted), seen[name] or 0)
            seen[name] = nil
        end
    end
    for _, amount in pairs(seen) do others = others + amount end

    if last >= seq then
        reply[#reply + 1] = -1
        reply[#reply + 1] = last
    else
        local room, granted = math.max(0, limit - others), holds
        if not in_grace and want > granted and room >= need then
            granted = math.max(granted, math.min(want, room))
        end
        redis.call('HSET', key, instance, whole(granted) .. ':' .. whole(seq) .. ':' .. whole(now))
        redis.call(rolling and 'PEXPIRE' or 'PEXPIREAT', key, whole(keep))
        reply[#reply + 1] = granted
        reply[#reply + 1] = room
    end
    told = told or holds > 0
end

-- Gateways that say what they hold are waited for.
if in_grace and told then
    till = math.max(till, now + math.floor(grace / 2))
    redis.call('HSET', KEYS[1], 'until', whole(till))
end
reply[2] = math.max(0, till - now)
return reply
