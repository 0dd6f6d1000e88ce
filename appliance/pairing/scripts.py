"""What happens to the queue in one step: Lua scripts that Redis runs alone, so that nothing comes in between.

Commands of Redis 6.0 only. Every script takes the prefix of all keys as its only key and derives the others, which a
single server allows. The time is an argument: all daemons of a machine read the same clock, and a test can turn it.

Keys below the prefix:
  job:<id>            hash: session, phone, paired (number learned later), method, relink, node, created_at, seq;
                      once taken: owner, fence; once shown: code, code_until, shown_at; cancel
  session:<session>   id of the one job of this session          phone:<number>   the same for a number
  queue:<node>        sorted set: id → order of arrival           busy:<node>      set: ids that hold a slot
  working             sorted set: id → until when its lock is good
  limit:session:<s>, limit:phone:<n>   hash: until, by (the job whose code it counts)
  cool:<number>       hash: until, step, after WhatsApp's 429
  shown               sorted set: id → when its code was shown, for the appliance's own limit
  fence, seq          counters that only grow
"""

from __future__ import annotations

from typing import Final

_COMMON: Final = """
local p = KEYS[1]
local function job(id) return p .. 'job:' .. id end
local function get(id, name) return redis.call('HGET', job(id), name) or '' end
local function number(value) return tonumber(value) or 0 end
local function text(value) return string.format('%.3f', value) end
local function exists(id) return redis.call('EXISTS', job(id)) == 1 end
local function held(id, owner, fence)
  return exists(id) and get(id, 'owner') == owner and get(id, 'fence') == fence
end
local function names(id)
  local found = {}
  for _, pair in ipairs({{'session', 'session'}, {'phone', 'phone'}, {'phone', 'paired'}}) do
    local value = get(id, pair[2])
    if value ~= '' then found[#found + 1] = pair[1] .. ':' .. value end
  end
  return found
end
local function drop(id)
  local node = get(id, 'node')
  for _, name in ipairs(names(id)) do
    if redis.call('GET', p .. name) == id then redis.call('DEL', p .. name) end
  end
  redis.call('ZREM', p .. 'queue:' .. node, id)
  redis.call('SREM', p .. 'busy:' .. node, id)
  redis.call('ZREM', p .. 'working', id)
  redis.call('DEL', job(id))
end
local function limit(name, id, till, now)
  local key = p .. 'limit:' .. name
  redis.call('HSET', key, 'until', text(till), 'by', id)
  redis.call('PEXPIRE', key, math.ceil((till - now) * 1000) + 1)
end
local function free(id)
  for _, name in ipairs(names(id)) do
    local key = p .. 'limit:' .. name
    if redis.call('HGET', key, 'by') == id then redis.call('DEL', key) end
  end
end
"""

ENQUEUE: Final = (
    _COMMON
    + """
local id, session, phone, now = ARGV[1], ARGV[2], ARGV[3], number(ARGV[8])
local node, check, most, window = ARGV[6], ARGV[9] == '1', number(ARGV[10]), number(ARGV[11])
if exists(id) then return {'known', id, get(id, 'seq')} end
local wanted = {'session:' .. session}
if phone ~= '' then wanted[2] = 'phone:' .. phone end
for _, name in ipairs(wanted) do
  local other = redis.call('GET', p .. name)
  if other and exists(other) then return {'busy', other, name} end
end
if check then
  for _, name in ipairs(wanted) do
    local till = number(redis.call('HGET', p .. 'limit:' .. name, 'until'))
    if till > now then return {'limited', name, text(till)} end
  end
  local till = phone ~= '' and number(redis.call('HGET', p .. 'cool:' .. phone, 'until')) or 0
  if till > now then return {'limited', 'cool', text(till)} end
  redis.call('ZREMRANGEBYSCORE', p .. 'shown', '-inf', now - window)
  local count = redis.call('ZCARD', p .. 'shown') + redis.call('ZCARD', p .. 'queue:' .. node)
  if count >= most then
    local oldest = redis.call('ZRANGE', p .. 'shown', 0, 0, 'WITHSCORES')
    return {'limited', 'appliance', text(oldest[2] and oldest[2] + window or now + 60)}
  end
end
local seq = number(ARGV[12])
if seq == 0 then
  seq = redis.call('INCR', p .. 'seq')
elseif seq > number(redis.call('GET', p .. 'seq')) then
  redis.call('SET', p .. 'seq', string.format('%d', seq))
end
redis.call('HSET', job(id), 'session', session, 'phone', phone, 'method', ARGV[4], 'relink', ARGV[5], 'node', node,
  'created_at', ARGV[7], 'seq', string.format('%d', seq), 'owner', '', 'fence', '')
for _, name in ipairs(wanted) do redis.call('SET', p .. name, id) end
redis.call('ZADD', p .. 'queue:' .. node, seq, id)
return {'queued', id, string.format('%d', seq)}
"""
)
"""id, session, phone, method, relink, node, created_at, now, check limits, appliance's limit, its window, seq (0: next)
→ [word, …]."""

TAKE: Final = (
    _COMMON
    + """
local node, owner, till, slots, floor = ARGV[1], ARGV[2], ARGV[3], number(ARGV[4]), number(ARGV[5])
local queue, busy = p .. 'queue:' .. node, p .. 'busy:' .. node
if redis.call('SCARD', busy) >= slots then return {} end
while true do
  local id = redis.call('ZRANGE', queue, 0, 0)[1]
  if not id then return {} end
  redis.call('ZREM', queue, id)
  if exists(id) and get(id, 'owner') == '' then
    local fence = redis.call('INCR', p .. 'fence')
    if fence <= floor then
      fence = floor + 1
      redis.call('SET', p .. 'fence', string.format('%d', fence))
    end
    redis.call('HSET', job(id), 'owner', owner, 'fence', string.format('%d', fence))
    redis.call('ZADD', p .. 'working', till, id)
    redis.call('SADD', busy, id)
    return {id, redis.call('HGETALL', job(id))}
  end
end
"""
)
"""node, owner, lock until, slots, lowest fence → [] or [id, fields]."""

EXTEND: Final = (
    _COMMON
    + """
if not held(ARGV[1], ARGV[2], ARGV[3]) then return 'lost' end
redis.call('ZADD', p .. 'working', 'XX', ARGV[4], ARGV[1])
return get(ARGV[1], 'cancel') == '1' and 'cancelled' or 'held'
"""
)
"""id, owner, fence, lock until → held, cancelled (somebody wants it to stop) or lost."""

SHOW: Final = (
    _COMMON
    + """
local id, now = ARGV[1], number(ARGV[4])
if not held(id, ARGV[2], ARGV[3]) then return 0 end
if number(redis.call('ZSCORE', p .. 'working', id)) < now then return 0 end
if get(id, 'shown_at') == '' then
  redis.call('HSET', job(id), 'shown_at', ARGV[4])
  redis.call('ZADD', p .. 'shown', now, id)
  for _, name in ipairs(names(id)) do
    limit(name, id, now + number(string.sub(name, 1, 8) == 'session:' and ARGV[7] or ARGV[8]), now)
  end
end
redis.call('HSET', job(id), 'code', ARGV[5], 'code_until', ARGV[6])
return 1
"""
)
"""id, owner, fence, now, code, its end, seconds between codes of a session, of a number → 1, or 0: not ours any more.

The only place where a code becomes visible, and the only place where one is counted."""

HIDE: Final = (
    _COMMON
    + """
if held(ARGV[1], ARGV[2], ARGV[3]) then redis.call('HDEL', job(ARGV[1]), 'code', 'code_until') end
return 1
"""
)
"""id, owner, fence: the code was used."""

ADD_PHONE: Final = (
    _COMMON
    + """
local id, phone = ARGV[1], ARGV[4]
if not held(id, ARGV[2], ARGV[3]) then return 'lost' end
local other = redis.call('GET', p .. 'phone:' .. phone)
if other and other ~= id and exists(other) then return 'busy' end
if get(id, 'phone') ~= phone then redis.call('HSET', job(id), 'paired', phone) end
redis.call('SET', p .. 'phone:' .. phone, id)
return 'held'
"""
)
"""id, owner, fence, number → held, busy or lost."""

FINISH: Final = (
    _COMMON
    + """
local id, owner, now, verdict = ARGV[1], ARGV[2], number(ARGV[4]), ARGV[5]
if not exists(id) then return 0 end
if owner ~= '*' and not held(id, owner, ARGV[3]) then return 0 end
local phone = get(id, 'phone')
if verdict == 'free' then free(id) end
if verdict == 'linked' and phone ~= '' then redis.call('DEL', p .. 'cool:' .. phone) end
if verdict == 'cool' then
  free(id)
  if phone ~= '' then
    local key = p .. 'cool:' .. phone
    local step = redis.call('HINCRBY', key, 'step', 1)
    local pause = math.min(number(ARGV[7]), number(ARGV[6]) * 2 ^ math.min(step - 1, 30))
    redis.call('HSET', key, 'until', text(now + pause))
    redis.call('PEXPIRE', key, math.ceil((pause + number(ARGV[8])) * 1000))
  end
end
drop(id)
return 1
"""
)
"""id, owner (* by force; empty while it waits), fence, now, verdict, cool-down: first, longest, remembered for → 1, or
0: it is not ours (any more)."""

CANCEL: Final = (
    _COMMON
    + """
local id = ARGV[1]
if not exists(id) then return 'gone' end
if get(id, 'owner') == '' then
  drop(id)
  return 'dropped'
end
redis.call('HSET', job(id), 'cancel', '1')
return 'asked'
"""
)
"""id → gone, dropped (it was waiting) or asked (whoever works on it hears of it)."""

SWEEP: Final = (
    _COMMON
    + """
local now, swept = number(ARGV[1]), {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', p .. 'working', '-inf', '(' .. ARGV[1])) do
  local alive = number(get(id, 'code_until'))
  if alive > now then
    for _, name in ipairs(names(id)) do
      if redis.call('HGET', p .. 'limit:' .. name, 'by') == id then limit(name, id, alive, now) end
    end
  else
    free(id)
  end
  drop(id)
  swept[#swept + 1] = id
end
return swept
"""
)
"""now → ids whose holders have not proved themselves in time. A code that may still be on somebody's screen keeps the
next one waiting until it is dead; otherwise the next one is free."""

LIFT: Final = (
    _COMMON
    + """
local lifted = 0
for index = 1, #ARGV do
  local kind, value = string.match(ARGV[index], '^(%a+):(.*)$')
  lifted = lifted + redis.call('DEL', p .. 'limit:' .. ARGV[index])
  if kind == 'phone' then lifted = lifted + redis.call('DEL', p .. 'cool:' .. value) end
end
return lifted
"""
)
"""session:<s> and phone:<n>, any number of them → how many limits there were."""

STATE: Final = (
    _COMMON
    + """
if not exists(ARGV[1]) then return {} end
local rank = redis.call('ZRANK', p .. 'queue:' .. get(ARGV[1], 'node'), ARGV[1])
return {redis.call('HGETALL', job(ARGV[1])), rank or -1}
"""
)
"""id → [] or [fields, place in the queue from 0, -1: none]."""

WAITING: Final = (
    _COMMON
    + """
return {redis.call('ZRANGE', p .. 'queue:' .. ARGV[1], 0, -1), redis.call('SMEMBERS', p .. 'busy:' .. ARGV[1])}
"""
)
"""node → [ids that wait, in order; ids that hold a slot]."""
