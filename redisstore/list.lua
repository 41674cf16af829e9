-- Returns the fields of a subject's families and their values, as HGETALL does:
-- all of few families, of many those of one page, the newest first.
--
-- KEYS[1]  the subject's hash  KEYS[2]  its row
-- ARGV     1 how many of the newest to pass over  2 how many to return
-- Returns  1 if there may be more, else 0; the fields and values
--
-- It only reads.
local key, row, most = KEYS[1], KEYS[2], tonumber(ARGV[2])
if not are_many(row) then return { 0, call('HGETALL', key) } end
local ids = call('ZREVRANGEBYSCORE', row, '+inf', '(0', 'LIMIT', ARGV[1], most)
if #ids == 0 then return { 0, {} } end
local names = {}
for _, id in ipairs(ids) do
  for _, name in ipairs({ '', 'c', 'd', 'a', 'k', 's', 'i', 'x' }) do names[#names + 1] = id .. name end
end
local out, values = {}, call('HMGET', key, unpack(names))
for i, name in ipairs(names) do
  out[2 * i - 1], out[2 * i] = name, values[i] or ''
end
return { #ids == most and 1 or 0, out }
