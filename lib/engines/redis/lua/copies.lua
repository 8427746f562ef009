-- Stands behind record.lua in front of every verb that writes a value: tells those who may have a copy of the old one.
-- The ledger (the last of KEYS), a hash of four fields a node number:
--   u<number>  until when that node may trust its copies, margin included; 0: it left;  d<number>  drops ever published to it
--   g<number>  the highest generation with which it filled a copy;  e<number>  whose number it is: the epoch of its join
-- and `strangers`: until when nodes that the registry lost may trust copies. Bit 63 of `told` says that they may have one of this.
-- A writer, one of ARGV: "number epoch keep sentAt doubt generation serial"
--   number: its own (-1: none)   keep: 1, its copy of the new value shall count   sentAt: the earliest that this can have been sent,
--   on this clock as the writer knows it (0: it doesn't)   doubt: 1, it can't vouch for that clock over the last copy lease; 2, nor that
--   the registry has all nodes   generation: grows whenever that node gives a write up   serial: what an answer to a drop shall name
-- The invariant: whoever has a copy is in `copies`, or in `told` and hasn't heard yet. Bits stay; only `toldUntil` lapses.
local COPY_LEASE = 2250
local TOLERATED = 250
local ledger = KEYS[#KEYS]
local channel = string.sub(ledger, 1, -18) .. 'channel:node-'
local writer = { string.match(ARGV[#ARGV], '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$') }
local me, keep, sent_at, generation = tonumber(writer[1]), writer[3] == '1', tonumber(writer[4]), tonumber(writer[6])
-- This clock jumped, perhaps (or the command was slow): what it granted may seem to be over and not be.
local suspect = writer[5] ~= '0' or (sent_at > 0 and math.abs(now - sent_at) > TOLERATED)
-- Its node gave it up and has filled copies since: it must be told like any other.
local known = me >= 0 and redis.call('HMGET', ledger, 'g' .. me, 'e' .. me) or {}
-- The ledger doesn't know this node by its number, as it does from its join on: it was lost, and perhaps all else that told who has
-- copies. The number may be another's by now, who must be told like anybody.
local lost = writer[5] == '2' or (me >= 0 and known[2] ~= writer[2])
if me >= 0 and known[2] ~= writer[2] then me = -1 end
local highest = tonumber(known[1] or 0)
local late = me >= 0 and generation < highest
-- Whether the writer itself is told: else it sees to its own copy by itself.
local tells_me = late
local unannounced, strangers, counts = 0, 0, 0

local function has(high, low, number)
  if number < 32 then return math.floor(low / 2 ^ number) % 2 == 1 end
  return math.floor(high / 2 ^ (number - 32)) % 2 == 1
end

local function bit_of(number)
  if number < 0 then return 0, 0 end
  if number < 32 then return 0, 2 ^ number end
  return 2 ^ (number - 32), 0
end

-- Drop counts start from a time in microseconds, so that one that was lost can't count right by accident.
local function count(number)
  if redis.call('HINCRBY', ledger, 'd' .. number, 1) > 1 then return end
  redis.call('HSET', ledger, 'd' .. number, string.format('%.0f', time[1] * 1000000 + time[2]))
end

local function tell(number, message)
  count(number)
  local told = redis.pcall('PUBLISH', channel .. number, message)
  if type(told) == 'table' and told.err then unannounced = 1 end
end

-- How long that node may still trust what it has. Nothing known of it: a whole lease.
local function left_of(number)
  local trusted_until = tonumber(redis.call('HGET', ledger, 'u' .. number) or now + COPY_LEASE)
  if suspect and trusted_until > 0 then return COPY_LEASE end
  return math.max(0, math.min(trusted_until - now, COPY_LEASE))
end

-- Who may have a copy of what `facts` (copies, told, toldUntil as they stand in a value) is the head of: two words of bits.
-- nil: nothing is there, so nobody knows who had copies: all nodes that have a row (KEYS[2]) and didn't leave.
local function affected(facts)
  local high, low = 0, 0
  if facts then
    local told_high, told_low, told_until
    high, low, told_high, told_low, told_until = struct.unpack('>I4I4I4I4I6', facts)
    if told_until > now or suspect then
      if told_high >= 2 ^ 31 then
        told_high = told_high - 2 ^ 31
        -- Written down when the bit was: a ledger that doesn't know it was lost since. From now on, then, or it would never be over.
        local trusted_until = tonumber(redis.call('HGET', ledger, 'strangers') or now + COPY_LEASE)
        local left = trusted_until - now
        if left == COPY_LEASE then redis.pcall('HSET', ledger, 'strangers', trusted_until) end
        strangers = suspect and COPY_LEASE or math.max(0, math.min(left, COPY_LEASE))
      end
      high, low = bit.bor(high, told_high) % 2 ^ 32, bit.bor(low, told_low) % 2 ^ 32
    end
  else
    for _, row in ipairs(redis.call('HVALS', KEYS[2])) do
      local number, left = string.match(row, '^(%d+) %d+ (%d)')
      if left == '0' then
        local bit_high, bit_low = bit_of(tonumber(number))
        high, low = high + bit_high, low + bit_low
      end
    end
    -- A record that this node has filled since it gave this command up may be gone, bits and all.
    if late and not has(high, low, me) then
      local my_high, my_low = bit_of(me)
      high, low = high + my_high, low + my_low
    end
    if lost then
      strangers = COPY_LEASE
      redis.call('HSET', ledger, 'strangers', now + COPY_LEASE)
    end
  end
  return high, low
end

-- Before the bit is set, so that a write which this node has given up is known for late. False: refused, then nothing may be copied.
local function raise()
  if generation == highest then return true end
  local set = redis.pcall('HSET', ledger, 'g' .. me, generation)
  return not (type(set) == 'table' and set.err)
end

-- The facts of a value that takes the place of one whose copies were `high, low`.
local function facts_after(high, low, keeps)
  local my_high, my_low = 0, 0
  if keeps and me >= 0 and not late and raise() then
    my_high, my_low = bit_of(me)
    counts = 1
  end
  if strangers > 0 then high = high + 2 ^ 31 end
  local told_until = (high > 0 or low > 0) and now + COPY_LEASE or 0
  return struct.pack('>I4I4I4I4I6', my_high, my_low, high, low, told_until)
end

-- Once the value stands: tells those nodes, and appends to `reply` whether the writer's own copy counts, whether a message was refused,
-- then for whom the writer waits and for how long. It never waits for itself.
local function announce(key, version, high, low, what, reply)
  table.insert(reply, counts)
  local at = #reply + 1
  reply[at] = 0
  -- Somebody that nobody knows may have a copy: the writer waits for no one who could answer.
  if strangers > 0 then
    table.insert(reply, -1)
    table.insert(reply, strangers)
  end
  local my_high, my_low = bit_of(me)
  if not tells_me and (high == 0 or high == my_high) and (low == 0 or low == my_low) then return reply end
  local name = string.sub(key, #ledger - 16)
  local message = string.format('drop %s %.0f %s %s %s %s', name, version, writer[1], writer[2], writer[7], what)
  for number = 0, 62 do
    if has(high, low, number) and (number ~= me or tells_me) then
      local left = number ~= me and left_of(number) or 0
      if left > 0 then
        table.insert(reply, number)
        table.insert(reply, left)
      end
      tell(number, message)
    end
  end
  reply[at] = unannounced
  return reply
end
