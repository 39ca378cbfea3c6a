#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <math.h>
#include <jpeglib.h>
// gen OUT W H comps(1,3,4) colorspace(ycc,rgb,gray,cmyk,ycck) h1v1.. progressive interleave(0/1/2) restart arith
static unsigned char* pic(int w,int h,int n){unsigned char*p=malloc(w*h*n);for(int y=0;y<h;y++)for(int x=0;x<w;x++){
 double r=128+100*sin(x*0.07+y*0.02),g=128+100*sin(y*0.05-x*0.01+1),b=128+100*sin((x+y)*0.04+2);
 int e=((x/16+y/16)%5==0)?40:0; double v[4]={r-e,g-e,b-e,60+40*sin(x*.1)};
 if(n==1){p[y*w+x]=(r+g+b)/3-e<0?0:(r+g+b)/3-e;continue;}
 for(int c=0;c<n;c++){double q=v[c];p[(y*w+x)*n+c]=q<0?0:q>255?255:q;}}return p;}
int main(int c,char**a){
 const char*out=a[1];int w=atoi(a[2]),h=atoi(a[3]);const char*cs=a[4];const char*samp=a[5];int prog=atoi(a[6]),inter=atoi(a[7]),rst=atoi(a[8]),arith=atoi(a[9]);
 struct jpeg_compress_struct ci;struct jpeg_error_mgr e;ci.err=jpeg_std_error(&e);jpeg_create_compress(&ci);
 FILE*f=fopen(out,"wb");jpeg_stdio_dest(&ci,f);
 int n=!strcmp(cs,"gray")?1:(!strcmp(cs,"cmyk")||!strcmp(cs,"ycck"))?4:3;
 ci.image_width=w;ci.image_height=h;ci.input_components=n;ci.in_color_space=n==1?JCS_GRAYSCALE:n==3?JCS_RGB:JCS_CMYK;
 jpeg_set_defaults(&ci);jpeg_set_quality(&ci,92,1);
 if(!strcmp(cs,"rgb"))jpeg_set_colorspace(&ci,JCS_RGB);
 if(!strcmp(cs,"ycck"))jpeg_set_colorspace(&ci,JCS_YCCK);
 if(!strcmp(cs,"cmyk"))jpeg_set_colorspace(&ci,JCS_CMYK);
 for(int i=0;i<n && samp[2*i];i++){ci.comp_info[i].h_samp_factor=samp[2*i]-'0';ci.comp_info[i].v_samp_factor=samp[2*i+1]-'0';}
 ci.arith_code=arith;ci.restart_interval=rst;ci.optimize_coding=!arith;
 static jpeg_scan_info s[4];
 if(prog)jpeg_simple_progression(&ci);
 else if(inter==1){for(int i=0;i<n;i++){s[i].comps_in_scan=1;s[i].component_index[0]=i;s[i].Ss=0;s[i].Se=63;}ci.scan_info=s;ci.num_scans=n;}
 else if(inter==2&&n>=3){s[0].comps_in_scan=1;s[0].component_index[0]=0;s[0].Se=63;s[1].comps_in_scan=n-1;for(int i=1;i<n;i++)s[1].component_index[i-1]=i;s[1].Se=63;ci.scan_info=s;ci.num_scans=2;}
 jpeg_start_compress(&ci,TRUE);unsigned char*p=pic(w,h,n);
 while(ci.next_scanline<h){JSAMPROW r=p+ci.next_scanline*w*n;jpeg_write_scanlines(&ci,&r,1);}
 jpeg_finish_compress(&ci);fclose(f);return 0;}
