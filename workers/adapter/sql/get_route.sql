SELECT enabled, reason FROM adapter.route WHERE route = $1
