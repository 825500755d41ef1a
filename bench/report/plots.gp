# gnuplot -e "folder='bench/results'" plots.gp: draws each .dat file of the folder as SVG and PNG. A line is named by the
# head of its block.
set grid ytics lc rgb "#dddddd"
set key outside right top
set border 3
set tics nomirror out
# A policy has one colour in all plots. The client is the dash or the fill: core dashed, evener's http2 dotted. Earlier
# lines are broader, so that a line below another one stays visible.
colour(name) = strstrt(name, 'pick_first') ? 0x888888 : strstrt(name, 'weighted_round_robin') ? 0x8040c0 : \
    strstrt(name, 'round_robin') ? 0x0060c0 : strstrt(name, 'weighted_random') ? 0x90c020 : \
    strstrt(name, 'random') ? 0x00a0a0 : strstrt(name, 'least_request') ? 0xe07000 : \
    strstrt(name, 'p2c_ewma') ? 0xd01030 : strstrt(name, 'p2c go-zero') ? 0x804000 : strstrt(name, 'p2c') ? 0xff80a0 : \
    strstrt(name, 'ring_hash') ? 0x209020 : 0x000000
dash(name) = name[1:5] eq 'core ' ? 2 : name[1:6] eq 'http2 ' ? 3 : 1
pattern(name) = name[1:5] eq 'core ' ? 1 : name[1:6] eq 'http2 ' ? 2 : 3
width(i) = 2 + 3.0 * (STATS_blocks - 1 - i) / STATS_blocks
# The name of a block of the file in `plotted`: its first line.
name(i) = system(sprintf("awk 'NR == 1 || (blank && $0 != \"\") { n++; if (n == %d) { gsub(/\"/, \"\"); print; exit } } { blank = $0 == \"\" }' '%s'", i + 1, plotted))
style = "lc rgb colour(name(i)) dt dash(name(i)) lw width(i)"
# Simulated figures: the line is the median over the seeds, the band its range.
band = "fc rgb colour(name(i)) fs transparent solid 0.2 noborder"
DEADLINE_MS = 1000 # of the calls in the tail scenarios

has_data(name) = int(system("cat ".folder."/".name.".dat 2>/dev/null | wc -c")) > 0
data(name) = folder.'/'.name.'.dat'

do for [kind in "svg png"] {
    if (kind eq "svg") { set terminal svg size 900,480 font "sans,12" background rgb "white" noenhanced } \
    else { set terminal pngcairo size 900,480 font "sans,10" noenhanced }

    if (has_data('picker')) {
        plotted = data('picker')
        stats data('picker') using 1 nooutput
        set output folder.'/picker.'.kind
        set title "pick + done, one thread (line: median, point: minimum)"
        set xlabel "backends"; set ylabel "ns"; set logscale xy; set yrange [1:*]
        plot for [i=0:STATS_blocks-1] data('picker') index i using 1:2 with lines @style title columnheader(1), \
             for [i=0:STATS_blocks-1] data('picker') index i using 1:3 skip 1 with points lc rgb colour(name(i)) pt 7 ps 0.6 notitle
    }
    if (has_data('threads')) {
        plotted = data('threads')
        stats data('threads') using 1 nooutput
        set output folder.'/threads.'.kind
        set title "pick + done by threads, 10 backends"
        set xlabel "threads"; set ylabel "million operations per second"; unset logscale; set logscale x 2; set yrange [0:*]
        plot for [i=0:STATS_blocks-1] data('threads') index i using 1:(1000/$2) with linespoints @style title columnheader(1)
    }
    unset logscale
    if (has_data('latency')) {
        plotted = data('latency')
        stats data('latency') using 1 nooutput
        set output folder.'/latency.'.kind
        set title "single pick + done pairs, 10 backends, one thread: percentiles"
        set xlabel "share of the pairs"; set ylabel "ns"; set logscale y; set yrange [10:*]
        set xtics ("50 %%" 0.301, "90 %%" 1, "99 %%" 2, "99.9 %%" 3, "99.99 %%" 4, "99.999 %%" 5)
        plot for [i=0:STATS_blocks-1] data('latency') index i using 1:2 with linespoints @style title columnheader(1)
        set xtics autofreq; unset logscale
    }
    if (has_data('rpc')) {
        plotted = data('rpc')
        stats data('rpc') using 1 nooutput
        set output folder.'/rpc.'.kind
        set title "asynchronous unary calls over loopback, 3 backends, 10 bytes"
        set xlabel "calls in flight"; set ylabel "calls per second"; set logscale x 2; set yrange [0:*]
        plot for [i=0:STATS_blocks-1] data('rpc') index i using 1:2 with linespoints @style title columnheader(1)
        unset logscale
    }
    if (has_data('tail')) {
        plotted = data('tail')
        stats data('tail') using 2 nooutput
        set output folder.'/tail.'.kind
        set title "99th percentile with servers that misbehave"
        set xlabel ""; set ylabel "ms"; set logscale y; set yrange [*:*]
        set style data histograms; set style histogram clustered gap 1; set style fill solid 0.8
        set xtics rotate by -20
        plot for [i=0:STATS_blocks-1] data('tail') index i using ($2/1000):xtic(1) lc rgb colour(name(i)) fs pattern pattern(name(i)) title columnheader(1), \
             DEADLINE_MS with lines lc rgb 0x000000 dt 4 title 'deadline'
        unset logscale; set xtics norotate autofreq; set style data points
    }
    if (has_data('ramp')) {
        plotted = data('ramp')
        stats data('ramp') using 1 nooutput
        set output folder.'/ramp.'.kind
        set multiplot layout 1,3 title "simulated load ramp (after Prequal): percentiles over load"
        set xlabel "load"; set ylabel "ms"; set logscale y; set yrange [50:10000]; set key inside left top; set xtics 0.25
        do for [percentile=1:3] {
            set title word("p50 p99 p99.9", percentile)
            plot for [i=0:STATS_blocks-1] data('ramp') index i using 1:(column(2*percentile+3)/1000):(column(2*percentile+4)/1000) skip 1 with filledcurves @band notitle, \
                 for [i=0:STATS_blocks-1] data('ramp') index i using 1:(column(percentile+1)/1000) with lines @style title columnheader(1)
            unset key
        }
        unset multiplot; unset logscale; set key outside right top; set xtics autofreq
    }
    if (has_data('slow')) {
        plotted = data('slow')
        stats data('slow') using 1 nooutput
        set output folder.'/slow.'.kind
        set title "simulated: one of four slow by 5 ms from 20 s on, two from 40 s on"
        set xlabel "s"; set ylabel "99th percentile, ms"; set logscale y; set yrange [0.1:100]
        plot for [i=0:STATS_blocks-1] data('slow') index i using 1:($4/1000):($5/1000) skip 1 with filledcurves @band notitle, \
             for [i=0:STATS_blocks-1] data('slow') index i using 1:($2/1000) with lines @style title columnheader(1)
        unset logscale
    }
    if (has_data('joining')) {
        plotted = data('joining')
        stats data('joining') using 1 nooutput
        set output folder.'/joining.'.kind
        set title "simulated: load of a backend that joins fifty at 20 s, cold for 0.3 s"
        set xlabel "s"; set ylabel "its calls, in fair shares"; set yrange [0:*]; set xrange [15:45]
        plot for [i=0:STATS_blocks-1] data('joining') index i using 1:($6*51):($7*51) skip 1 with filledcurves @band notitle, \
             for [i=0:STATS_blocks-1] data('joining') index i using 1:($3*51) with lines @style title columnheader(1)
        set xrange [*:*]
    }
    unset output
}
