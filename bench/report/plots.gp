# gnuplot -e "folder='bench/results'" plots.gp: draws the .dat files of the folder, each as SVG and PNG.
# The name of a line is the head of its block.
set grid ytics lc rgb "#dddddd"
set key outside right top
set border 3
set tics nomirror out

has_data(name) = int(system("cat ".folder."/".name.".dat 2>/dev/null | wc -c")) > 0

do for [kind in "svg png"] {
    if (kind eq "svg") { set terminal svg size 900,500 font "sans,12" background rgb "white" noenhanced } \
    else { set terminal pngcairo size 900,500 font "sans,10" noenhanced }

    if (has_data('picker')) {
        stats folder.'/picker.dat' using 1 nooutput
        set output folder.'/picker.'.kind
        set title "pick + done, one thread (line: median, point: minimum)"
        set xlabel "backends"; set ylabel "ns"; set logscale x; set yrange [0:*]
        plot for [i=0:STATS_blocks-1] folder.'/picker.dat' index i using 1:2 with lines lc i+1 lw 2 title columnheader(1), \
             for [i=0:STATS_blocks-1] folder.'/picker.dat' index i using 1:3 skip 1 with points lc i+1 pt 7 ps 0.6 notitle
    }
    if (has_data('threads')) {
        stats folder.'/threads.dat' using 1 nooutput
        set output folder.'/threads.'.kind
        set title "pick + done by threads, 10 backends"
        set xlabel "threads"; set ylabel "million operations a second"; set logscale x 2
        plot for [i=0:STATS_blocks-1] folder.'/threads.dat' index i using 1:(1000/$2) with linespoints lc i+1 lw 2 title columnheader(1)
    }
    if (has_data('rpc')) {
        stats folder.'/rpc.dat' using 1 nooutput
        set output folder.'/rpc.'.kind
        set title "unary calls over loopback, 3 backends, 10 bytes"
        set xlabel "calls in flight"; set ylabel "calls a second"
        plot for [i=0:STATS_blocks-1] folder.'/rpc.dat' index i using 1:2 with linespoints lc i+1 lw 2 title columnheader(1)
    }
    unset logscale
    if (has_data('tail')) {
        stats folder.'/tail.dat' using 2 nooutput
        set output folder.'/tail.'.kind
        set title "99th percentile with servers that misbehave"
        set xlabel ""; set ylabel "ms"; set logscale y; set yrange [*:*]
        set style data histograms; set style histogram clustered gap 1; set style fill solid 0.8
        set xtics rotate by -20
        plot for [i=0:STATS_blocks-1] folder.'/tail.dat' index i using ($2/1000):xtic(1) lc i+1 title columnheader(1)
        unset logscale; set xtics norotate; set style data points
    }
    unset output
}
