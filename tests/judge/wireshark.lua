-- One pass of tshark for many display filters and fields: which frames each filter selects, and every value of each field.
--
-- tshark -q -X lua_script:wireshark.lua -X lua_script1:QUESTIONS -r CAPTURE. QUESTIONS has a line for each, `filter TEXT` or
-- `field NAME`. Written to standard output: first "asked N", N the questions; then, a line each, `N FRAME` where filter N selects a
-- frame, and `N FRAME VALUE VALUE ...` with the values of field N in the order of their bytes in the frame. A value is a letter and
-- what it says: n a number, a an address, x bytes and s text in hexadecimal, p a protocol or another field without a value.

local function hex(text)
   return (text:gsub(".", function(byte) return string.format("%02x", byte:byte()) end))
end

local function shown(info)
   local kind = info.type
   if kind == ftypes.PROTOCOL or kind == ftypes.NONE then return "p" end
   local value = info.value
   if type(value) == "boolean" then return value and "n1" or "n0" end
   if type(value) == "number" then return string.format("n%.0f", value) end
   if type(value) == "string" then return "s" .. hex(value) end
   if kind == ftypes.BYTES or kind == ftypes.UINT_BYTES then return "x" .. value:tohex(true) end
   if kind == ftypes.UINT64 or kind == ftypes.INT64 then return "n" .. tostring(value) end
   return "a" .. tostring(value)
end

-- A name that several of Wireshark's fields share comes ordered by these.
local function in_order(found)
   local place = {}
   for i, info in ipairs(found) do place[info] = i end
   table.sort(found, function(a, b)
      if a.offset ~= b.offset then return a.offset < b.offset end
      return place[a] < place[b]
   end)
end

local fields, count = {}, 0

local function ask_filter(number, filter)
   local listener = Listener.new("frame", filter)
   function listener.packet(frame) io.stdout:write(number, " ", frame.number, "\n") end
end

for line in io.lines((...)) do
   local kind, text = line:match("^(%l+) (.*)$")
   if kind == "filter" then ask_filter(count, text) else fields[count] = Field.new(text) end
   count = count + 1
end

local every = Listener.new("frame")
function every.packet(frame)
   for number, field in pairs(fields) do
      local found = { field() }
      if #found > 0 then
         if #found > 1 then in_order(found) end
         for i, info in ipairs(found) do found[i] = shown(info) end
         io.stdout:write(number, " ", frame.number, " ", table.concat(found, " "), "\n")
      end
   end
end
io.stdout:write("asked ", count, "\n")
