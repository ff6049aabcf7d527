module github.com/targetgroupcontroller/targetgroupcontroller

go 1.26.0
