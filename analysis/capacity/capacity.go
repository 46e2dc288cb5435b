// Package capacity makes a plan: it holds what a tunnel was measured to carry
// against the demand so far, and says when it is full and what would help.
//
// The way of a plan, in the order of the files:
//
//  1. question.go: what is asked, and what cannot be asked.
//  2. directions.go: each direction is planned by itself, or both together.
//  3. layer.go, sizes.go: ceilings become capacities in the layer of the demand,
//     for packets of its mean size.
//  4. series.go: bins become days, weeks and months.
//  5. trend.go, regression.go: a line, straight or exponential, through the days, robust against
//     holidays and outages, with steps where the level changed and with clipped
//     days as lower bounds.
//  6. past.go, season.go, forecast.go: the line, the week's season and the last days'
//     distance from both say what comes; backtest.go says how well they would have.
//  7. crossing.go: the dates at which the forecast reaches a capacity.
//  8. options.go: the same dates for each remedy.
//  9. missing.go: what was not measured.
//
// plan.go goes this way, and notes.go says what is odd about it.
package capacity
