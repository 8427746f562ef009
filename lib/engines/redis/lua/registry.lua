-- Stands in front of every verb on the registry. KEYS of all of them, in one slot:
--   KEYS[1] rows    hash nodeId -> "number epoch left about", which registry.ts reads too
--   KEYS[2] leases  zset nodeId -> when its lease is over
--   KEYS[3] meta    hash: epoch (the highest ever given), revision, beatAt (when anybody last joined or beat), graceUntil,
--                   endedBefore (up to when whatever began is over)
-- The invariant: nobody loses its row because the engine or its clock was away, and epochs and the revision only grow.
local rows, leases, meta = KEYS[1], KEYS[2], KEYS[3]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function fact(name) return tonumber(redis.call('HGET', meta, name) or 0) end

-- number, epoch, left ('0' or '1'), about; nothing when the row is missing
local function row_of(node_id)
  local row = redis.call('HGET', rows, node_id)
  if not row then return nil end
  local number, epoch, left, about = string.match(row, '^(%d+) (%d+) (%d) (.*)$')
  return tonumber(number), tonumber(epoch), left, about
end

-- A beat is always a write, so that a demoted primary refuses it; and one that maxmemory doesn't refuse, so neither what follows.
local function write_first() redis.call('HDEL', meta, '') end

-- Follows the clock too, so that nobody who knows a revision of a registry that was lost takes a new one for it.
local function revise() redis.call('HSET', meta, 'revision', math.max(fact('revision') + 1, now)) end

local function write_row(node_id, number, epoch, left, about, lease_ms)
  redis.call('HSET', rows, node_id, string.format('%d %d %s ', number, epoch, left) .. about)
  redis.call('ZADD', leases, now + lease_ms, node_id)
end

-- Removes the rows whose lease is over, unless nobody could have renewed them: then everybody gets one lease to come back (grace).
local function reap(lease_ms)
  local beat_at, grace_until = fact('beatAt'), fact('graceUntil')
  local went_back = now < beat_at
  if (went_back or now - beat_at > lease_ms / 2) and redis.call('EXISTS', rows) == 1 then
    grace_until = now + lease_ms
    redis.call('HSET', meta, 'graceUntil', grace_until)
  end
  redis.call('HSET', meta, 'beatAt', now)
  -- After a step back the old deadlines lie too far ahead: a dead node would stay for as long as the step was.
  if went_back then
    for _, node_id in ipairs(redis.call('ZRANGEBYSCORE', leases, now + lease_ms, '+inf')) do
      redis.call('ZADD', leases, now + lease_ms, node_id)
    end
  end
  if now < grace_until then return true end
  local over = redis.call('ZRANGEBYSCORE', leases, '-inf', now)
  for _, node_id in ipairs(over) do
    redis.call('HDEL', rows, node_id)
    redis.call('ZREM', leases, node_id)
  end
  if #over > 0 then revise() end
  return false
end
