module github.com/targetgroupcontroller/targetgroupcontroller/lab

go 1.26.8
