-- Request lines, hosts, fields and connections in every form that is accepted, one after the other; the last closes.
return require "lib.http_report"("head")
