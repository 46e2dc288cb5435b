// Package capacity makes a plan: it holds what a tunnel was measured to carry
// against the demand so far, and says when it is full and what would help.
//
// The way of a plan, in the order of the files:
//
//  1. question.go: what is asked, and what cannot be asked.
//  2. layer.go, sizes.go: ceilings become capacities in the layer of the demand,
//     for packets of its mean size.
//  3. series.go: bins become days, weeks and months.
//  4. trend.go: a line, straight or exponential, through the days, robust against
//     holidays and outages, with steps where the level changed and with clipped
//     days as lower bounds.
//  5. forecast.go, backtest.go: the line, the week's season and the last days'
//     deviation say what comes; the same method on the past says how well.
//  6. crossing.go: the dates at which the forecast reaches a capacity.
//  7. options.go: the same dates for each remedy.
package capacity
